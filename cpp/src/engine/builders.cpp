// Registration of layers: what each needs to know of itself, checked before anything is kept.

#include <utility>

#include "engine/network_impl.h"

namespace piste {
namespace {

template <class T>
void check_vector(const std::string& name, const char* what, const View<T>& v, Index n) {
  if (v)
    check(v.shape == Shape{n}, name.c_str(), what, ": expected shape ", Shape{n}, ", got ",
          v.shape);
}

Node layer(NodeKind kind, int x, std::string name) {
  Node node;
  node.kind = kind;
  node.name = std::move(name);
  node.inputs = {x};
  return node;
}

void set_window(Node& node, int axes, const PoolWindow& window) {
  node.axes = axes;
  node.kernel = window.kernel;
  node.stride = window.stride;
  node.dilation = window.dilation;
  for (int axis = 0; axis < 3; ++axis)
    node.padding[axis] = {window.padding[axis], window.padding[axis]};
  node.ceil_mode = window.ceil_mode;
}

template <class T>
Node convolution(NodeKind kind, int x, const std::string& name, const View<T>& weight,
                 const View<T>& bias, const ConvOptions& options) {
  const char* tag = name.c_str();
  const int axes = weight.shape.rank() - 2;
  check(axes >= 1 && axes <= 3, tag, "weight: expected 3 to 5 dimensions, got shape ",
        weight.shape);
  check(options.groups >= 1 && weight.shape[0] % options.groups == 0, tag, weight.shape[0],
        " filters cannot be split into ", options.groups, " groups");
  Node node = layer(kind, x, name);
  node.axes = axes;
  for (int axis = 0; axis < 3; ++axis) {
    const bool given = axis >= 3 - axes;
    node.kernel[axis] = given ? weight.shape[axis - 3] : 1;
    node.padding[axis] = {options.pad_low[axis], options.pad_high[axis]};
    check(options.stride[axis] >= 1 && options.dilation[axis] >= 1 && node.padding[axis][0] >= 0 &&
              (node.padding[axis][1] >= 0 || kind == NodeKind::conv_transpose) &&
              node.kernel[axis] >= 1,
          tag, "stride, dilation and kernel must be at least 1 and padding at least 0");
  }
  node.stride = options.stride;
  node.dilation = options.dilation;
  node.groups = options.groups;
  node.algorithm = options.algorithm;
  const Index per_group = weight.shape[1] * options.groups;
  node.filters = kind == NodeKind::conv ? weight.shape[0] : per_group;
  node.channels = kind == NodeKind::conv ? per_group : weight.shape[0];
  check_vector(name, "bias", bias, node.filters);
  return node;
}

}  // namespace

template <class T>
Network<T>::Network() : learning_(std::make_unique<Learning>()) {}
template <class T>
Network<T>::~Network() = default;

template <class T>
int Network<T>::add_node(Node node) {
  for (int from : node.inputs)
    check(from >= 0 && from < static_cast<int>(nodes_.size()), node.name.c_str(), "input ", from,
          " is not a value of this network");
  nodes_.push_back(std::move(node));
  output_ = static_cast<int>(nodes_.size()) - 1;
  plans_.clear();
  return output_;
}

template <class T>
int Network<T>::add_parameter(View<T> value, const std::string& name) {
  if (!value) return -1;
  parameters_.push_back({value, std::vector<T>(value.size()), name});
  return static_cast<int>(parameters_.size()) - 1;
}

template <class T>
int Network<T>::add_weighted(Node node, View<T> weight, View<T> bias) {
  node.weight = add_parameter(weight, node.name);
  node.bias = add_parameter(bias, node.name);
  return add_node(std::move(node));
}

template <class T>
int Network<T>::input() {
  check(nodes_.empty(), "network", "a network has one input, registered first");
  Node node;
  node.kind = NodeKind::input;
  node.name = "input";
  return add_node(std::move(node));
}

template <class T>
int Network<T>::conv(int x, std::string name, View<T> weight, View<T> bias,
                     const ConvOptions& options, PaddingMode padding_mode) {
  Node node = convolution(NodeKind::conv, x, name, weight, bias, options);
  if (padding_mode != PaddingMode::zeros && node.padding != std::array<Pair, 3>{}) {
    Node pad = layer(NodeKind::pad, x, std::move(name));
    pad.axes = node.axes;
    pad.padding_mode = padding_mode;
    std::swap(pad.padding, node.padding);
    node.inputs = {add_node(std::move(pad))};
  }
  return add_weighted(std::move(node), weight, bias);
}

template <class T>
int Network<T>::conv_transpose(int x, std::string name, View<T> weight, View<T> bias,
                               const ConvOptions& options) {
  return add_weighted(convolution(NodeKind::conv_transpose, x, name, weight, bias, options), weight,
                      bias);
}

template <class T>
int Network<T>::linear(int x, std::string name, View<T> weight, View<T> bias) {
  check(weight.shape.rank() == 2, name.c_str(), "weight: expected 2 dimensions, got shape ",
        weight.shape);
  check_vector(name, "bias", bias, weight.shape[0]);
  Node node = layer(NodeKind::linear, x, name);
  node.filters = weight.shape[0];
  node.channels = weight.shape[1];
  return add_weighted(std::move(node), weight, bias);
}

template <class T>
int Network<T>::activation(int x, std::string name, Activation kind, T a, T b) {
  Node node = layer(NodeKind::activation, x, std::move(name));
  node.activation = kind;
  node.a = a;
  node.b = b;
  return add_node(std::move(node));
}

template <class T>
int Network<T>::prelu(int x, std::string name, View<T> weight) {
  check(weight.shape.rank() == 1 && weight.shape[0] >= 1, name.c_str(),
        "weight: expected one per channel, got shape ", weight.shape);
  Node node = layer(NodeKind::prelu, x, name);
  node.channels = weight.shape[0];
  node.weight = add_parameter(weight, name);
  return add_node(std::move(node));
}

template <class T>
int Network<T>::max_pool(int x, std::string name, int axes, const PoolWindow& window) {
  Node node = layer(NodeKind::max_pool, x, std::move(name));
  set_window(node, axes, window);
  return add_node(std::move(node));
}

template <class T>
int Network<T>::avg_pool(int x, std::string name, int axes, const PoolWindow& window,
                         bool count_include_pad, Index divisor_override) {
  Node node = layer(NodeKind::avg_pool, x, std::move(name));
  set_window(node, axes, window);
  node.count_include_pad = count_include_pad;
  node.divisor_override = divisor_override;
  return add_node(std::move(node));
}

template <class T>
int Network<T>::adaptive_pool(int x, std::string name, int axes, Triple output_size, bool max) {
  Node node =
      layer(max ? NodeKind::adaptive_max_pool : NodeKind::adaptive_avg_pool, x, std::move(name));
  node.axes = axes;
  node.output_size = output_size;
  return add_node(std::move(node));
}

template <class T>
int Network<T>::batch_norm(int x, std::string name, int axes, Index channels, View<T> weight,
                           View<T> bias, View<T> running_mean, View<T> running_var,
                           View<std::int64_t> batches_tracked, std::optional<double> momentum,
                           double eps) {
  check_vector(name, "weight", weight, channels);
  check_vector(name, "bias", bias, channels);
  check_vector(name, "running_mean", running_mean, channels);
  check_vector(name, "running_var", running_var, channels);
  check(!batches_tracked || batches_tracked.size() == 1, name.c_str(),
        "num_batches_tracked: expected one number, got shape ", batches_tracked.shape);
  check(momentum || !running_mean || batches_tracked, name.c_str(),
        "running statistics without a momentum need num_batches_tracked");
  Node node = layer(NodeKind::batch_norm, x, name);
  node.axes = axes;
  node.channels = channels;
  node.running_mean = running_mean.data;
  node.running_var = running_var.data;
  node.batches_tracked = batches_tracked.data;
  node.cumulative = !momentum;
  node.a = momentum.value_or(0);
  node.b = eps;
  return add_weighted(std::move(node), weight, bias);
}

template <class T>
int Network<T>::layer_norm(int x, std::string name, std::vector<Index> normalized_shape,
                           View<T> weight, View<T> bias, double eps) {
  Shape shape;
  for (Index size : normalized_shape) shape.push_back(size);
  check(shape.rank() >= 1, name.c_str(), "normalized_shape: expected at least one size");
  for (const View<T>& view : {weight, bias})
    check(!view || view.shape == shape, name.c_str(), "weight and bias: expected shape ", shape,
          ", got ", view.shape);
  Node node = layer(NodeKind::layer_norm, x, name);
  node.sizes = std::move(normalized_shape);
  node.b = eps;
  return add_weighted(std::move(node), weight, bias);
}

template <class T>
int Network<T>::group_norm(int x, std::string name, int axes, Index channels, Index groups,
                           View<T> weight, View<T> bias, double eps) {
  check(groups >= 1 && channels % groups == 0, name.c_str(), channels,
        " channels cannot be split into ", groups, " groups");
  check_vector(name, "weight", weight, channels);
  check_vector(name, "bias", bias, channels);
  Node node = layer(NodeKind::group_norm, x, name);
  node.axes = axes;
  node.channels = channels;
  node.groups = groups;
  node.b = eps;
  return add_weighted(std::move(node), weight, bias);
}

template <class T>
int Network<T>::instance_norm(int x, std::string name, int axes, Index channels, View<T> weight,
                              View<T> bias, View<T> running_mean, View<T> running_var,
                              double momentum, double eps) {
  check_vector(name, "running_mean", running_mean, channels);
  check_vector(name, "running_var", running_var, channels);
  const int id = group_norm(x, std::move(name), axes, channels, channels, weight, bias, eps);
  Node& node = nodes_[id];
  node.running_mean = running_mean.data;
  node.running_var = running_var.data;
  node.a = momentum;
  return id;
}

template <class T>
int Network<T>::response_norm(int x, std::string name, const ResponseNormOptions& options) {
  check(options.size >= 1, name.c_str(), "size: expected at least 1, got ", options.size);
  Node node = layer(NodeKind::response_norm, x, std::move(name));
  node.response = options;
  return add_node(std::move(node));
}

template <class T>
int Network<T>::dropout(int x, std::string name, T p, int axes) {
  check(p >= 0 && p <= 1, name.c_str(), "expected a probability from 0 to 1, got ", p);
  Node node = layer(NodeKind::dropout, x, std::move(name));
  node.axes = axes;
  node.a = p;
  return add_node(std::move(node));
}

template <class T>
int Network<T>::flatten(int x, std::string name, int first_axis, int last_axis) {
  const bool whole = first_axis == 1 && last_axis == -1;
  Node node = layer(whole ? NodeKind::flatten : NodeKind::reshape, x, std::move(name));
  node.first_axis = first_axis;
  node.last_axis = last_axis;
  node.sizes = {-1};
  return add_node(std::move(node));
}

template <class T>
int Network<T>::unflatten(int x, std::string name, int axis, std::vector<Index> sizes) {
  Node node = layer(NodeKind::reshape, x, std::move(name));
  node.first_axis = node.last_axis = axis;
  node.sizes = std::move(sizes);
  return add_node(std::move(node));
}

template <class T>
int Network<T>::add(int x, int z, std::string name) {
  Node node = layer(NodeKind::add, x, std::move(name));
  node.inputs = {x, z};
  return add_node(std::move(node));
}

template <class T>
int Network<T>::concat(std::vector<int> values, std::string name) {
  check(!values.empty(), name.c_str(), "expected at least one value to put together");
  Node node = layer(NodeKind::concat, values[0], std::move(name));
  node.inputs = std::move(values);
  return add_node(std::move(node));
}

template <class T>
int Network<T>::softmax(int x, std::string name, bool log, int axis) {
  Node node = layer(log ? NodeKind::log_softmax : NodeKind::softmax, x, std::move(name));
  node.first_axis = axis;
  return add_node(std::move(node));
}

template <class T>
void Network<T>::output(int x) {
  check(x >= 0 && x < static_cast<int>(nodes_.size()), "network", "value ", x, " is unknown");
  output_ = x;
  plans_.clear();
}

template class Network<float>;
template class Network<double>;

}  // namespace piste
