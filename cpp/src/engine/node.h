#pragma once

#include <optional>
#include <string>
#include <vector>

#include "piste/network.h"

namespace piste {

enum class NodeKind {
  input,
  conv,
  conv_transpose,
  pad,
  linear,
  activation,
  prelu,
  max_pool,
  avg_pool,
  adaptive_avg_pool,
  adaptive_max_pool,
  batch_norm,
  layer_norm,
  group_norm,
  response_norm,
  dropout,
  flatten,
  reshape,
  add,
  concat,
  softmax,
  log_softmax,
};

/// One layer as it was registered. Fields that its kind does not use keep their defaults.
struct Node {
  NodeKind kind;
  std::string name;
  std::vector<int> inputs;

  // Per axis (depth, height, width); of the last `axes` of them where the layer is a map's.
  int axes = 0;
  Triple kernel{1, 1, 1}, stride{1, 1, 1}, dilation{1, 1, 1}, output_size{0, 0, 0};
  std::array<Pair, 3> padding{};  // before and after; after may be negative in a transposed one
  Index groups = 1, filters = 0, channels = 0;
  std::optional<Algorithm> algorithm;  // of a convolution; without one, the default
  int weight = -1, bias = -1;          // indices of trainable parameters
  PaddingMode padding_mode = PaddingMode::zeros;
  void *running_mean = nullptr, *running_var = nullptr;
  std::int64_t* batches_tracked = nullptr;
  bool cumulative = false;  // running statistics are means over all batches
  Activation activation = Activation::relu;
  double a = 0, b = 0;  // an activation's parameters; momentum and eps; p
  bool ceil_mode = false, count_include_pad = true;
  Index divisor_override = 0;
  // Of a sample's axes: what is normalised; what axes first_axis to last_axis turn into (-1: what
  // is left); the axis that a softmax is over. Counted from the batch's, or from behind.
  std::vector<Index> sizes;
  int first_axis = 1, last_axis = -1;
  ResponseNormOptions response;
};

/// Shape of one sample of a value. Features are channels of a single pixel; a flattened map stays
/// where it is and keeps its pixels: only its consumers see the difference.
struct MapShape {
  Index channels = 0, height = 1, width = 1;
  bool flat = false;
  bool dense = false;  // channels not padded to the vector width (inputs of convolutions)
  Index depth = 1;
  int axes = 2;  // of a map that is not flat

  Triple extents() const { return {depth, height, width}; }
  Index pixels() const { return depth * height * width; }
  Index features() const { return channels * pixels(); }
  Shape logical() const {
    if (flat) return {features()};
    Shape shape{channels};
    for (int axis = 3 - axes; axis < 3; ++axis) shape.push_back(extents()[axis]);
    return shape;
  }
  /// The same as a map of other extents.
  MapShape with(Index new_channels, const Triple& e) const {
    MapShape shape = *this;
    shape.channels = new_channels;
    shape.depth = e[0], shape.height = e[1], shape.width = e[2];
    shape.dense = false;
    return shape;
  }
};

/// What a plan's table calls the kernel of a node that has nothing fused to it but a bias.
const char* kernel_name(const Node& node);

/// The axis of a sample of `rank` axes that a number counted from the batch's axis (0), or from
/// behind, stands for; throws where there is none.
int sample_axis(const Node& node, int number, int rank);

/// Shapes of all values for samples of `sample_shape`; throws ArgumentError with the layer's name.
std::vector<MapShape> infer_shapes(const std::vector<Node>& nodes, const Shape& sample_shape);

}  // namespace piste
