#pragma once

#include <optional>
#include <string>
#include <vector>

#include "piste/network.h"

namespace piste {

enum class NodeKind {
  input,
  conv,
  linear,
  activation,
  max_pool,
  avg_pool,
  adaptive_avg_pool,
  batch_norm,
  dropout,
  flatten,
  add,
  softmax,
  log_softmax,
};

/// One layer as it was registered. Fields that its kind does not use keep their defaults.
struct Node {
  NodeKind kind;
  std::string name;
  std::vector<int> inputs;

  Pair kernel{1, 1}, stride{1, 1}, dilation{1, 1}, output_size{0, 0};
  std::array<Pair, 2> padding{};  // ((top, bottom), (left, right))
  Index groups = 1, filters = 0, channels = 0;
  std::optional<Algorithm> algorithm;  // of a convolution; without one, the default
  int weight = -1, bias = -1;          // indices of trainable parameters
  void *running_mean = nullptr, *running_var = nullptr;
  Activation activation = Activation::relu;
  double a = 0, b = 0;  // an activation's parameters; momentum and eps; p
  bool ceil_mode = false, count_include_pad = true;
  Index divisor_override = 0;
};

/// Shape of one sample of a value. Features are channels of a single pixel; a flattened map stays
/// where it is and keeps its pixels: only its consumers see the difference.
struct MapShape {
  Index channels = 0, height = 1, width = 1;
  bool flat = false;
  bool dense = false;  // channels not padded to the vector width (inputs of convolutions)

  Index pixels() const { return height * width; }
  Index features() const { return channels * pixels(); }
  Shape logical() const { return flat ? Shape{features()} : Shape{channels, height, width}; }
};

/// Shapes of all values for samples of `sample_shape`; throws ArgumentError with the layer's name.
std::vector<MapShape> infer_shapes(const std::vector<Node>& nodes, const Shape& sample_shape);

}  // namespace piste
