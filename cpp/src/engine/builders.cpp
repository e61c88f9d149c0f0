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

std::array<Pair, 2> both_sides(Pair padding) {
  return {Pair{padding[0], padding[0]}, Pair{padding[1], padding[1]}};
}

}  // namespace

template <class T>
Network<T>::Network()
    : undo_(std::make_unique<Undo<T>>()), learning_(std::make_unique<Learning>()) {}
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
int Network<T>::input() {
  check(nodes_.empty(), "network", "a network has one input, registered first");
  Node node;
  node.kind = NodeKind::input;
  node.name = "input";
  return add_node(std::move(node));
}

template <class T>
int Network<T>::conv(int x, std::string name, View<T> weight, View<T> bias, Pair stride,
                     std::array<Pair, 2> padding, Pair dilation, Index groups,
                     std::optional<Algorithm> algorithm) {
  const char* tag = name.c_str();
  check(weight.shape.rank() == 4, tag, "weight: expected 4 dimensions, got shape ", weight.shape);
  check(groups >= 1 && weight.shape[0] % groups == 0, tag, weight.shape[0],
        " filters cannot be split into ", groups, " groups");
  check_vector(name, "bias", bias, weight.shape[0]);
  for (int axis : {0, 1})
    check(
        stride[axis] >= 1 && dilation[axis] >= 1 && padding[axis][0] >= 0 && padding[axis][1] >= 0,
        tag, "stride and dilation must be at least 1 and padding at least 0");
  Node node = layer(NodeKind::conv, x, name);
  node.kernel = {weight.shape[2], weight.shape[3]};
  node.stride = stride;
  node.padding = padding;
  node.dilation = dilation;
  node.groups = groups;
  node.algorithm = algorithm;
  node.filters = weight.shape[0];
  node.channels = weight.shape[1] * groups;
  node.weight = add_parameter(weight, name);
  node.bias = add_parameter(bias, name);
  return add_node(std::move(node));
}

template <class T>
int Network<T>::linear(int x, std::string name, View<T> weight, View<T> bias) {
  check(weight.shape.rank() == 2, name.c_str(), "weight: expected 2 dimensions, got shape ",
        weight.shape);
  check_vector(name, "bias", bias, weight.shape[0]);
  Node node = layer(NodeKind::linear, x, name);
  node.filters = weight.shape[0];
  node.channels = weight.shape[1];
  node.weight = add_parameter(weight, name);
  node.bias = add_parameter(bias, name);
  return add_node(std::move(node));
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
int Network<T>::max_pool(int x, std::string name, Pair kernel, Pair stride, Pair padding,
                         Pair dilation, bool ceil_mode) {
  Node node = layer(NodeKind::max_pool, x, std::move(name));
  node.kernel = kernel;
  node.stride = stride;
  node.padding = both_sides(padding);
  node.dilation = dilation;
  node.ceil_mode = ceil_mode;
  return add_node(std::move(node));
}

template <class T>
int Network<T>::avg_pool(int x, std::string name, Pair kernel, Pair stride, Pair padding,
                         bool ceil_mode, bool count_include_pad, Index divisor_override) {
  Node node = layer(NodeKind::avg_pool, x, std::move(name));
  node.kernel = kernel;
  node.stride = stride;
  node.padding = both_sides(padding);
  node.ceil_mode = ceil_mode;
  node.count_include_pad = count_include_pad;
  node.divisor_override = divisor_override;
  return add_node(std::move(node));
}

template <class T>
int Network<T>::adaptive_avg_pool(int x, std::string name, Pair output_size) {
  Node node = layer(NodeKind::adaptive_avg_pool, x, std::move(name));
  node.output_size = output_size;
  return add_node(std::move(node));
}

template <class T>
int Network<T>::batch_norm(int x, std::string name, View<T> weight, View<T> bias,
                           View<T> running_mean, View<T> running_var, T momentum, T eps) {
  const View<T>& sized = weight ? weight : running_mean;
  check(bool(sized), name.c_str(), "expected a weight or running statistics");
  const Index channels = sized.size();
  check_vector(name, "bias", bias, channels);
  check_vector(name, "running_mean", running_mean, channels);
  check_vector(name, "running_var", running_var, channels);
  Node node = layer(NodeKind::batch_norm, x, name);
  node.channels = channels;
  node.running_mean = running_mean.data;
  node.running_var = running_var.data;
  node.a = momentum;
  node.b = eps;
  node.weight = add_parameter(weight, name);
  node.bias = add_parameter(bias, name);
  return add_node(std::move(node));
}

template <class T>
int Network<T>::dropout(int x, std::string name, T p) {
  check(p >= 0 && p <= 1, name.c_str(), "expected a probability from 0 to 1, got ", p);
  Node node = layer(NodeKind::dropout, x, std::move(name));
  node.a = p;
  return add_node(std::move(node));
}

template <class T>
int Network<T>::flatten(int x, std::string name) {
  return add_node(layer(NodeKind::flatten, x, std::move(name)));
}

template <class T>
int Network<T>::add(int x, int z, std::string name) {
  Node node = layer(NodeKind::add, x, std::move(name));
  node.inputs = {x, z};
  return add_node(std::move(node));
}

template <class T>
int Network<T>::softmax(int x, std::string name, bool log) {
  return add_node(layer(log ? NodeKind::log_softmax : NodeKind::softmax, x, std::move(name)));
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
