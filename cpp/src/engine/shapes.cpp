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

MapShape windowed(const Node& node, const MapShape& x, Index channels) {
  return {channels, window_output(node, 0, x.height), window_output(node, 1, x.width)};
}

void expect_map(const Node& node, const MapShape& x) {
  check(!x.flat, node.name.c_str(), "expected an input of shape (channels, height, width), got ",
        x.logical());
}

void expect_channels(const Node& node, const MapShape& x, Index expected) {
  check(x.channels == expected, node.name.c_str(), "expected ", expected,
        " input channels, got an input of shape ", x.logical());
}

MapShape infer(const Node& node, const std::vector<MapShape>& shapes) {
  const MapShape x = shapes[node.inputs[0]];
  switch (node.kind) {
    case NodeKind::conv:
      expect_map(node, x);
      expect_channels(node, x, node.channels);
      return windowed(node, x, node.filters);
    case NodeKind::linear:
      check(x.flat, node.name.c_str(), "expected flat features, got a map of shape ", x.logical(),
            "; put a Flatten before it");
      check(x.features() == node.channels, node.name.c_str(), "expected ", node.channels,
            " input features, got ", x.features());
      return {node.filters, 1, 1, true};
    case NodeKind::max_pool:
    case NodeKind::avg_pool:
      expect_map(node, x);
      return windowed(node, x, x.channels);
    case NodeKind::adaptive_avg_pool:
      expect_map(node, x);
      return {x.channels, node.output_size[0] ? node.output_size[0] : x.height,
              node.output_size[1] ? node.output_size[1] : x.width};
    case NodeKind::batch_norm:
      check(!x.flat || x.pixels() == 1, node.name.c_str(),
            "batch norm of a flattened map is not supported; put it before the Flatten");
      expect_channels(node, x, node.channels);
      return x;
    case NodeKind::flatten: {
      MapShape flat = x;
      flat.flat = true;
      return flat;
    }
    case NodeKind::add: {
      const MapShape z = shapes[node.inputs[1]];
      check(x.logical() == z.logical(), node.name.c_str(), "cannot add shapes ", x.logical(),
            " and ", z.logical());
      return x;
    }
    case NodeKind::softmax:
    case NodeKind::log_softmax:
      check(!x.flat || x.pixels() == 1, node.name.c_str(),
            "softmax of a flattened map is not supported");
      return x;
    default:
      return x;
  }
}

MapShape input_shape(const Shape& sample) {
  check(sample.rank() == 1 || sample.rank() == 3, "network",
        "expected samples of shape (features,) or (channels, height, width), got ", sample);
  check(sample.size() > 0, "network", "samples of shape ", sample, " are empty");
  if (sample.rank() == 1) return {sample[0], 1, 1, true};
  return {sample[0], sample[1], sample[2]};
}

bool reads_dense(const Node& node) {
  return node.kind == NodeKind::conv || node.kind == NodeKind::linear;
}

}  // namespace

std::vector<MapShape> infer_shapes(const std::vector<Node>& nodes, const Shape& sample_shape) {
  std::vector<MapShape> shapes(nodes.size());
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i].kind != NodeKind::input) {
      shapes[i] = infer(nodes[i], shapes);
      const Shape extents{shapes[i].channels, shapes[i].height, shapes[i].width};
      const double features = double(extents[0]) * double(extents[1]) * double(extents[2]);
      check(features <= most_features, nodes[i].name.c_str(), "an output of shape ", extents,
            " per sample is too large");
      shapes[i].dense = nodes[i].kind == NodeKind::flatten && shapes[nodes[i].inputs[0]].dense;
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
