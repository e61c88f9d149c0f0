#include <algorithm>

#include "engine/node.h"

namespace piste {
namespace {

/// Of one sample of a value: times the bytes of a value and a batch it stays far below 64 bits.
constexpr double most_features = 1e12;

/// Output extent of a window that moves over one axis; pooling may round up.
Index window_output(const Node& node, int axis, Index in) {
  const Index low = node.padding[axis][0], high = node.padding[axis][1];
  const Index reach = node.dilation[axis] * (node.kernel[axis] - 1) + 1;
  const Index room = in + low + high - reach;
  check(room >= 0, node.name.c_str(), "a window of ", reach, " does not fit an input of ", in,
        " padded by ", low, " and ", high);
  const Index stride = node.stride[axis];
  Index out = room / stride + 1;
  // Rounded up, a window may hang over the end but must start inside the input or its left padding.
  if (node.ceil_mode && room % stride && out * stride < in + low) ++out;
  return out;
}

/// What a convolution makes of one axis, turned round.
Index transposed_output(const Node& node, int axis, Index in) {
  const Index reach = node.dilation[axis] * (node.kernel[axis] - 1) + 1;
  const Index out =
      (in - 1) * node.stride[axis] + reach - node.padding[axis][0] - node.padding[axis][1];
  check(out >= 1, node.name.c_str(), "an input of ", in, " leaves an output of ", out);
  return out;
}

/// output(node, axis, extent) for every axis.
template <class Output>
MapShape map_of(const Node& node, const MapShape& x, Index channels, Output output) {
  Triple extents = x.extents();
  for (int axis = 0; axis < 3; ++axis) extents[axis] = output(node, axis, extents[axis]);
  return x.with(channels, extents);
}

MapShape shape_of(const Shape& sample) {
  MapShape map;
  map.channels = sample[0];
  map.flat = sample.rank() == 1;
  map.axes = sample.rank() - 1;
  Triple extents{1, 1, 1};
  for (int axis = 1; axis < sample.rank(); ++axis) extents[axis + 3 - sample.rank()] = sample[axis];
  return map.with(map.channels, extents);
}

void expect_map(const Node& node, const MapShape& x) {
  static const char* const names[] = {"length", "height, width", "depth, height, width"};
  check(!x.flat && x.axes == node.axes, node.name.c_str(), "expected an input of shape (channels, ",
        names[node.axes - 1], "), got ", x.logical());
}

void expect_channels(const Node& node, const MapShape& x, Index expected) {
  check(x.channels == expected, node.name.c_str(), "expected ", expected,
        " input channels, got an input of shape ", x.logical());
}

/// The axes from first_axis to last_axis put together, then cut into the node's sizes.
MapShape reshaped(const Node& node, const Shape& x) {
  const int first = sample_axis(node, node.first_axis, x.rank());
  const int last = sample_axis(node, node.last_axis, x.rank());
  check(first <= last, node.name.c_str(), "axis ", node.first_axis, " comes after axis ",
        node.last_axis);
  Index all = 1, given = 1;
  int open = 0;
  for (int axis = first; axis <= last; ++axis) all = checked_mul(all, x[axis]);
  for (Index size : node.sizes) size == -1 ? void(++open) : void(given = checked_mul(given, size));
  check(open <= 1 && given >= 1 && (open ? all % given == 0 : all == given), node.name.c_str(),
        "axes ", node.first_axis, " to ", node.last_axis, " of ", x, " hold ", all,
        " values, which is not what the sizes asked for hold");
  Shape shape;
  for (int axis = 0; axis < first; ++axis) shape.push_back(x[axis]);
  for (Index size : node.sizes) shape.push_back(size == -1 ? all / given : size);
  for (int axis = last + 1; axis < x.rank(); ++axis) shape.push_back(x[axis]);
  check(shape.rank() >= 1 && shape.rank() <= 4, node.name.c_str(),
        "expected a result of 1 to 4 axes, got ", shape);
  return shape_of(shape);
}

MapShape concatenated(const Node& node, const std::vector<MapShape>& shapes) {
  MapShape all = shapes[node.inputs[0]];
  for (std::size_t i = 1; i < node.inputs.size(); ++i) {
    const MapShape& x = shapes[node.inputs[i]];
    check(x.flat == all.flat && x.extents() == all.extents() && (x.flat || x.axes == all.axes),
          node.name.c_str(), "shapes ", all.logical(), " and ", x.logical(),
          " differ in more than their channels");
    all.channels += x.channels;
  }
  return all.with(all.channels, all.extents());
}

/// Mirrored, the edge itself is not repeated; turned round, the input is taken once at most.
void check_padding(const Node& node, int axis, Index extent) {
  if (node.padding_mode == PaddingMode::replicate) return;
  const bool mirrored = node.padding_mode == PaddingMode::reflect;
  const auto [low, high] = node.padding[axis];
  check(std::max(low, high) <= extent - (mirrored ? 1 : 0), node.name.c_str(), "a padding of ", low,
        " and ", high, " needs an input of at least ", std::max(low, high) + (mirrored ? 1 : 0),
        " to be ", mirrored ? "mirrored" : "turned round", ", got ", extent);
}

void check_layer_norm(const Node& node, const Shape& x) {
  const int rank = static_cast<int>(node.sizes.size()), skipped = x.rank() - rank;
  bool fits = skipped >= 0;
  for (int axis = 0; fits && axis < rank; ++axis) fits = x[skipped + axis] == node.sizes[axis];
  Shape expected;
  for (Index size : node.sizes) expected.push_back(size);
  check(fits, node.name.c_str(), "expected an input that ends in ", expected, ", got ", x);
}

MapShape infer(const Node& node, const std::vector<MapShape>& shapes) {
  const MapShape x = shapes[node.inputs[0]];
  const char* tag = node.name.c_str();
  switch (node.kind) {
    case NodeKind::conv:
      expect_map(node, x);
      expect_channels(node, x, node.channels);
      return map_of(node, x, node.filters, window_output);
    case NodeKind::conv_transpose:
      expect_map(node, x);
      expect_channels(node, x, node.channels);
      return map_of(node, x, node.filters, transposed_output);
    case NodeKind::pad:
      expect_map(node, x);
      for (int axis = 0; axis < 3; ++axis) check_padding(node, axis, x.extents()[axis]);
      return map_of(node, x, x.channels, window_output);
    case NodeKind::linear:
      check(x.flat, tag, "expected flat features, got a map of shape ", x.logical(),
            "; put a Flatten before it");
      check(x.features() == node.channels, tag, "expected ", node.channels, " input features, got ",
            x.features());
      return shape_of({node.filters});
    case NodeKind::max_pool:
    case NodeKind::avg_pool:
      expect_map(node, x);
      return map_of(node, x, x.channels, window_output);
    case NodeKind::adaptive_avg_pool:
    case NodeKind::adaptive_max_pool:
      expect_map(node, x);
      return map_of(node, x, x.channels, [](const Node& n, int axis, Index extent) {
        return n.output_size[axis] ? n.output_size[axis] : extent;
      });
    case NodeKind::batch_norm:
      if (node.axes && !(x.flat && node.axes == 1)) expect_map(node, x);
      expect_channels(node, x, node.channels);
      return x;
    case NodeKind::dropout:
      if (node.axes) expect_map(node, x);
      return x;
    case NodeKind::prelu:
      if (node.channels > 1) expect_channels(node, x, node.channels);
      return x;
    case NodeKind::group_norm:
      if (node.axes) expect_map(node, x);
      expect_channels(node, x, node.channels);
      // What has running statistics may take single values in evaluation.
      check(node.groups < node.channels || x.pixels() > 1 || node.running_mean, tag,
            "expected more than 1 value per group, got an input of shape ", x.logical());
      return x;
    case NodeKind::layer_norm:
      check_layer_norm(node, x.logical());
      return x;
    case NodeKind::reshape:
      return reshaped(node, x.logical());
    case NodeKind::add: {
      const MapShape z = shapes[node.inputs[1]];
      check(x.logical() == z.logical(), tag, "cannot add shapes ", x.logical(), " and ",
            z.logical());
      return x;
    }
    case NodeKind::concat:
      return concatenated(node, shapes);
    case NodeKind::softmax:
    case NodeKind::log_softmax:
      sample_axis(node, node.first_axis, x.logical().rank());
      return x;
    default:
      return x;
  }
}

MapShape input_shape(const Shape& sample) {
  check(sample.rank() >= 1 && sample.rank() <= 4, "network",
        "expected samples of shape (features,) or (channels, [[depth,] height,] width), got ",
        sample);
  check(sample.size() > 0, "network", "samples of shape ", sample, " are empty");
  return shape_of(sample);
}

/// Whether all that read a node's flattened map take it as it lies, pixel by pixel: then a Flatten
/// before them costs nothing.
bool read_as_it_lies(const std::vector<Node>& nodes, int node) {
  for (std::size_t i = 0; i < nodes.size(); ++i)
    for (int from : nodes[i].inputs) {
      if (from != node) continue;
      switch (nodes[i].kind) {
        case NodeKind::linear:
        case NodeKind::reshape:
          break;
        case NodeKind::activation:
        case NodeKind::dropout:
        case NodeKind::flatten:
          if (!read_as_it_lies(nodes, static_cast<int>(i))) return false;
          break;
        default:
          return false;
      }
    }
  return true;
}

bool reads_dense(const Node& node) {
  return node.kind == NodeKind::conv || node.kind == NodeKind::pad || node.kind == NodeKind::linear;
}

}  // namespace

int sample_axis(const Node& node, int number, int rank) {
  const int axis = number < 0 ? number + rank : number - 1;
  check(axis >= 0 && axis < rank && number != 0, node.name.c_str(), "axis ", number,
        " is not one of 1 to ", rank, " (or ", -rank, " to -1) of an input whose samples have ",
        rank, " axes");
  return axis;
}

std::vector<MapShape> infer_shapes(const std::vector<Node>& nodes, const Shape& sample_shape) {
  std::vector<MapShape> shapes(nodes.size());
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i].kind == NodeKind::flatten) {
      shapes[i] = shapes[nodes[i].inputs[0]];
      if (read_as_it_lies(nodes, static_cast<int>(i)))
        shapes[i].flat = true;
      else
        shapes[i] = shape_of({shapes[i].features()});
      continue;
    }
    if (nodes[i].kind != NodeKind::input) {
      shapes[i] = infer(nodes[i], shapes);
      shapes[i].dense = nodes[i].kind == NodeKind::pad && shapes[nodes[i].inputs[0]].dense;
      const MapShape& s = shapes[i];
      const double features =
          double(s.channels) * double(s.depth) * double(s.height) * double(s.width);
      check(features <= most_features, nodes[i].name.c_str(), "an output of shape ", s.logical(),
            " per sample is too large");
      continue;
    }
    shapes[i] = input_shape(sample_shape);
    // Only convolutions read unpadded rows; a flattened input is read by its consumers instead.
    shapes[i].dense = true;
    for (std::size_t j = i + 1; j < nodes.size(); ++j)
      for (int from : nodes[j].inputs)
        if (from == static_cast<int>(i) && !reads_dense(nodes[j])) {
          shapes[i].dense = false;
          if (nodes[j].kind == NodeKind::flatten) {
            shapes[i].dense = true;
            for (std::size_t k = j + 1; k < nodes.size(); ++k)
              for (int source : nodes[k].inputs)
                if (source == static_cast<int>(j) && !reads_dense(nodes[k]))
                  shapes[i].dense = false;
          }
        }
  }
  return shapes;
}

}  // namespace piste
