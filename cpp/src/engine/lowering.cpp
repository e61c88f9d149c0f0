#include "engine/lowering.h"

#include <algorithm>

#include "dispatch/dispatch.h"

namespace piste {
namespace {

/// Partial sums of all gradients together stay below this many bytes.
constexpr Index gradient_bytes_limit = Index{256} << 20;

// Below so many flops a step is too short to be shared by groups: in one its tiles are full, and no
// partial sums are added. A logistic regression's step, 784 features to 10 classes at batch 64,
// takes 0.9 of the time.
constexpr double work_of_groups = 4e6;

/// Vectors of half the size from this factor on by which whole ones make the maps larger. Maps of
/// 6 and 16 channels have a factor of 1.9, and LeNet-5's step takes 0.73 of the time on Zen 4.
constexpr double half_vectors_from = 1.5;

Index map_width(const MapShape& shape, Index lanes) {
  return shape.dense ? shape.channels : (shape.channels + lanes - 1) / lanes * lanes;
}

/// The vectors that suit maps of these shapes, whose channels are padded to whole vectors.
template <class T>
Vectors fitting_vectors(const std::vector<MapShape>& shapes) {
  Index values[2] = {};
  for (const Vectors vectors : {Vectors::whole, Vectors::half}) {
    const VectorScope scope(vectors);
    for (const MapShape& shape : shapes)
      values[vectors == Vectors::half] +=
          shape.pixels() * map_width(shape, kernel_table<T>().lanes);
  }
  return double(values[0]) < half_vectors_from * double(values[1]) ? Vectors::whole : Vectors::half;
}

template <class T>
class Lowering {
 public:
  Lowering(const Graph<T>& graph, const Shape& sample_shape, Plan<T>& plan)
      : graph_(graph),
        nodes_(graph.nodes),
        plan_(plan),
        shapes_(infer_shapes(graph.nodes, sample_shape)),
        values_(nodes_.size()),
        ops_(nodes_.size(), nullptr),
        alias_of_(nodes_.size(), -1),
        gradient_parts_(nodes_.size()) {
    training_ = plan.mode() == PlanMode::train || plan.mode() == PlanMode::manual;
  }

  void run() {
    const Vectors vectors = fitting_vectors<T>(shapes_);
    const VectorScope scope(vectors);
    plan_.use(vectors);
    limit_groups();
    find_needed_gradients();
    for (std::size_t i = 0; i < nodes_.size(); ++i) lower_forward(static_cast<int>(i));
    lower_end();
    find_borrowing();
    plan_.seal();
  }

 private:
  Trainable<T> trainable(int index) const {
    return index < 0 ? Trainable<T>{} : graph_.trainables[index];
  }

  void limit_groups() {
    Index bytes = 1;
    for (const auto& t : graph_.trainables) bytes += t.value.size() * Index(sizeof(T));
    plan_.limit_groups(gradient_bytes_limit / bytes);
    if (rough_work() < work_of_groups) plan_.limit_groups(1);
  }

  /// Flops of a step, about: groups are chosen before there are ops, whose own counts Plan adds up.
  double rough_work() const {
    double work = 0;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      const double weights = double(trainable(nodes_[i].weight).value.size());
      work += 6 * weights * double(shapes_[i].pixels()) + 10 * double(shapes_[i].features());
    }
    return work * double(plan_.batch());
  }

  void find_needed_gradients() {
    needs_gradient_.assign(nodes_.size(), plan_.mode() == PlanMode::manual);
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (nodes_[i].weight >= 0 || nodes_[i].bias >= 0) needs_gradient_[i] = true;
      for (int from : nodes_[i].inputs)
        if (needs_gradient_[from]) needs_gradient_[i] = true;
      // What ends in a sum hands on its gradient.
      for (int from : nodes_[i].inputs)
        if (addition_behind(from) == static_cast<int>(i))
          needs_gradient_[from] = needs_gradient_[i];
    }
  }

  /// The only consumer of a node, or -1.
  int only_consumer(int node) const {
    int found = -1;
    if (node == graph_.output) return -1;
    for (std::size_t i = 0; i < nodes_.size(); ++i)
      for (int from : nodes_[i].inputs)
        if (from == node) {
          if (found >= 0) return -1;
          found = static_cast<int>(i);
        }
    return found;
  }

  /// The addition that a batch norm ends in, or -1: alone in reading it, of what is known by then.
  int addition_behind(int node) const {
    if (nodes_[node].kind != NodeKind::batch_norm) return -1;
    const int next = only_consumer(node);
    const bool adds = next >= 0 && nodes_[next].kind == NodeKind::add;
    return adds && other_term(next, node) < node ? next : -1;
  }
  /// Does another batch norm apply this one, as what it adds to its own result?
  bool applied_by_other(int node) const {
    const int next = nodes_[node].kind == NodeKind::batch_norm ? only_consumer(node) : -1;
    return next >= 0 && nodes_[next].kind == NodeKind::add &&
           addition_behind(other_term(next, node)) == next;
  }
  int other_term(int addition, int node) const {
    const std::vector<int>& terms = nodes_[addition].inputs;
    return terms[terms[0] == node];
  }

  /// The ReLU that a layer ends in, after the addition if it ends in one as well; or -1.
  int relu_behind(int node) const {
    if (!takes_relu(nodes_[node].kind)) return -1;
    const int addition = addition_behind(node);
    const int next = only_consumer(addition < 0 ? node : addition);
    const bool relu = next >= 0 && nodes_[next].kind == NodeKind::activation &&
                      nodes_[next].activation == Activation::relu;
    return relu ? next : -1;
  }

  /// Is all that reads a layer and its ReLU a maximum over windows? ReLU's gradient may then be
  /// applied to the maxima, which are fewer: only they have one, and they are what ReLU gave.
  bool pool_masks(int node) const {
    const int relu = relu_behind(node);
    const int next = relu < 0 ? -1 : only_consumer(relu);
    return next >= 0 && (nodes_[next].kind == NodeKind::max_pool ||
                         nodes_[next].kind == NodeKind::adaptive_max_pool);
  }

  static bool takes_relu(NodeKind kind) {
    return kind == NodeKind::conv || kind == NodeKind::conv_transpose || kind == NodeKind::linear ||
           kind == NodeKind::batch_norm || kind == NodeKind::add;
  }

  /// The input whose memory holds a layer's value as well, as the layer leaves it as it is or is
  /// part of what that input's op does; or -1.
  int alias(int i) const {
    const Node& node = nodes_[i];
    const int first = node.inputs.empty() ? -1 : node.inputs[0];
    switch (node.kind) {
      case NodeKind::flatten:
        return shapes_[i].extents() == shapes_[first].extents() ? first : -1;
      case NodeKind::dropout:
        return !training_ || node.a == 0 ? first : -1;
      case NodeKind::activation:
        return relu_behind(first) == i ? first : -1;
      case NodeKind::add:
        for (int term : node.inputs)
          if (addition_behind(term) == i) return term;
        return -1;
      default:
        return -1;
    }
  }

  int root(int node) const {
    while (alias_of_[node] >= 0) node = alias_of_[node];
    return node;
  }

  Value<T> value(int node) const {
    Value<T> v = values_[root(node)];
    v.shape.flat = shapes_[node].flat;
    return v;
  }

  void lower_forward(int i) {
    alias_of_[i] = alias(i);
    if (alias_of_[i] >= 0) return;
    Value<T>& y = values_[i];
    y.shape = shapes_[i];
    y.width = map_width(y.shape, kernel_table<T>().lanes);
    if (applied_by_other(i)) {
      y.tensor = value(nodes_[i].inputs[0]).tensor;
      y.scale = plan_.fixed_tensor(y.width);
      y.shift = plan_.fixed_tensor(y.width);
    } else {
      y.tensor = plan_.tensor(y.sample_values());
    }
    ops_[i] = plan_.add(make(i, y));
    describe(i);
    plan_.schedule_forward(ops_[i], training_);
  }

  /// The input may stay where it is if linear layers alone read it, as rows without padding; or a
  /// batch norm that ends in adding it, which only reads it as well. (Between forward and backward
  /// by hand its owner may change it.)
  void find_borrowing() {
    if (plan_.mode() == PlanMode::manual) return;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      const Value<T>& x = values_[i];
      if (nodes_[i].kind != NodeKind::input || !x.is_row()) continue;
      bool linear = x.sample_values() == x.shape.features() && root(graph_.output) != int(i);
      for (std::size_t j = 0; j < nodes_.size(); ++j)
        for (int from : nodes_[j].inputs)
          if (root(from) == int(i) && alias_of_[j] < 0)
            linear &= nodes_[j].kind == NodeKind::linear;
      if (linear) plan_.set_borrowing(x.tensor);
    }
  }

  /// What a layer's op adds to its value, or -1.
  int addend_of(int i) const {
    if (nodes_[i].kind == NodeKind::add) return nodes_[i].inputs[1];
    const int addition = addition_behind(i);
    return addition < 0 ? -1 : other_term(addition, i);
  }

  OpPtr<T> make(int i, const Value<T>& y) {
    const Node& node = nodes_[i];
    if (node.kind == NodeKind::input) return make_input(plan_, y);
    const Value<T> x = value(node.inputs[0]);
    const bool relu = relu_behind(i) >= 0;
    const int addend = addend_of(i);
    const Site<T> site{x,
                       y,
                       trainable(node.weight),
                       trainable(node.bias),
                       addend < 0 ? Value<T>{} : value(addend),
                       relu,
                       bool(needs_gradient_[root(node.inputs[0])]),
                       relu && !pool_masks(i)};
    switch (node.kind) {
      case NodeKind::conv:
      case NodeKind::conv_transpose:
        return make_conv(plan_, node, site);
      case NodeKind::pad:
        return make_pad(node, x, y);
      case NodeKind::linear:
        return make_linear(plan_, site);
      case NodeKind::batch_norm:
        return make_batch_norm(plan_, node, site);
      case NodeKind::activation:
        return make_activation(plan_, node, x, y);
      case NodeKind::dropout:
        return make_dropout(plan_, node, i, x, y);
      case NodeKind::add:
        return make_add(site);
      case NodeKind::concat: {
        std::vector<Value<T>> values;
        for (int from : node.inputs) values.push_back(value(from));
        return make_concat(plan_, values, y);
      }
      case NodeKind::flatten:
      case NodeKind::reshape:
        return make_reshape(plan_, x, y);
      case NodeKind::softmax:
      case NodeKind::log_softmax:
        if (sample_axis(node, node.first_axis, x.shape.logical().rank()) == 0)
          return make_softmax(plan_, node, x, y);
        return make_sample_op(plan_, node, site);
      case NodeKind::prelu:
      case NodeKind::layer_norm:
      case NodeKind::group_norm:
      case NodeKind::response_norm:
        return make_sample_op(plan_, node, site);
      default:
        return make_pool(plan_, node, x, y, pool_masks(root(node.inputs[0])));
    }
  }

  void lower_end() {
    const Value<T> y = value(graph_.output);
    int dy = -1;
    if (training_ && needs_gradient_[root(graph_.output)]) {
      dy = plan_.tensor(y.sample_values());
      gradient_parts_[root(graph_.output)].push_back(dy);
    }
    const bool has_loss = plan_.mode() == PlanMode::train || plan_.mode() == PlanMode::evaluate;
    schedule_forward(has_loss ? make_loss(plan_, y, dy) : make_output(plan_, y), y,
                     has_loss ? "loss" : "output");
    plan_.end_of_forward();
    if (!training_) return;
    if (plan_.mode() == PlanMode::manual)
      schedule_backward(make_grad_output(plan_, y, dy), y, "output");
    for (int i = static_cast<int>(nodes_.size()) - 1; i >= 0; --i)
      if (alias_of_[i] < 0 && needs_gradient_[i] && !gradient_parts_[i].empty()) lower_backward(i);
  }

  // Ops that are no layer's own.
  void schedule_forward(OpPtr<T> op, const Value<T>& value, const char* kernel) {
    name(*op, value, kernel);
    plan_.schedule_forward(plan_.add(std::move(op)), training_);
  }
  void schedule_backward(OpPtr<T> op, const Value<T>& value, const char* kernel) {
    name(*op, value, kernel);
    plan_.schedule_backward(plan_.add(std::move(op)), training_);
  }
  static void name(Op<T>& op, const Value<T>& value, const char* kernel) {
    op.info.kernel = kernel;
    op.info.input = op.info.output = value.shape.logical();
    op.info.forward_flops = op.info.backward_flops = double(value.shape.features());
  }

  /// What the plan's table says of a layer: products count two per multiply-add, windows one per
  /// value read, the rest one per value written.
  void describe(int i) {
    const Node& node = nodes_[i];
    const int from = node.inputs.empty() ? i : node.inputs[0];
    OpInfo& info = ops_[i]->info;
    info.layer = node.name;
    info.kernel = kernel_name(node);
    const bool adds = addition_behind(i) >= 0;
    const bool two_norms = adds && applied_by_other(addend_of(i));
    if (two_norms) info.kernel = "2 batch norms";
    if (adds) info.kernel += "+add";
    if (relu_behind(i) >= 0) info.kernel += "+relu";
    info.input = shapes_[from].logical();
    info.output = shapes_[i].logical();
    for (int parameter : {node.weight, node.bias})
      if (parameter >= 0)
        info.parameter_bytes += trainable(parameter).value.size() * Index(sizeof(T));
    const double outputs = double(shapes_[i].features());
    const double window = double(node.kernel[0] * node.kernel[1] * node.kernel[2]);
    double each = 1;
    bool product = false;
    if (node.kind == NodeKind::conv) {
      each = 2 * window * double(node.channels / node.groups);
      product = true;
    } else if (node.kind == NodeKind::conv_transpose) {  // as many as the mirrored convolution
      each = 2 * window * double(node.filters / node.groups) * double(shapes_[from].features()) /
             outputs;
      product = true;
    } else if (node.kind == NodeKind::linear) {
      each = 2.0 * double(node.channels);
      product = true;
    } else if (node.kind == NodeKind::max_pool || node.kind == NodeKind::avg_pool) {
      each = window;
    } else if (node.kind == NodeKind::adaptive_avg_pool ||
               node.kind == NodeKind::adaptive_max_pool) {
      each = double(shapes_[from].features()) / outputs;
    }
    info.forward_flops = info.backward_flops = each * outputs;
    if (applied_by_other(i)) info.forward_flops = 0;
    if (adds) info.forward_flops += two_norms ? 2 * outputs : outputs;
    // By the weights, and by the input where somebody wants that.
    if (product && needs_gradient_[root(from)]) info.backward_flops *= 2;
  }

  void lower_backward(int i) {
    const auto& parts = gradient_parts_[i];
    int dy = parts[0];
    if (parts.size() == 2 && ops_[i]->link_second(parts[1])) {
      ops_[i]->info.backward_flops += double(shapes_[i].features());
    } else if (parts.size() > 1) {
      dy = plan_.tensor(values_[i].sample_values());
      schedule_backward(make_gradient_sum(plan_, values_[i], parts, dy), values_[i], "add");
    }
    if (nodes_[i].kind == NodeKind::input)
      return schedule_backward(make_grad_input(plan_, values_[i], dy), values_[i], "input");
    std::vector<int> dx, terms;  // sources of gradients of their own, and of that of a sum
    const bool adds = nodes_[i].kind == NodeKind::add;
    for (int from : nodes_[i].inputs) (adds ? terms : dx).push_back(root(from));
    if (addition_behind(i) >= 0) terms.push_back(root(addend_of(i)));
    for (int& source : dx) {
      const int gradient =
          needs_gradient_[source] ? plan_.tensor(values_[source].sample_values()) : -1;
      add_part(source, gradient);
      source = gradient;
    }
    ops_[i]->link(plan_, dy, dx);
    for (int term : terms) add_part(term, ops_[i]->passed_on());
    plan_.schedule_backward(ops_[i], training_);
  }

  void add_part(int node, int gradient) {
    if (needs_gradient_[node]) gradient_parts_[node].push_back(gradient);
  }

  const Graph<T>& graph_;
  const std::vector<Node>& nodes_;
  Plan<T>& plan_;
  std::vector<MapShape> shapes_;
  std::vector<Value<T>> values_;
  std::vector<Op<T>*> ops_;
  std::vector<int> alias_of_;
  std::vector<std::vector<int>> gradient_parts_;
  std::vector<char> needs_gradient_;
  bool training_ = false;
};

}  // namespace

template <class T>
void lower(const Graph<T>& graph, const Shape& sample_shape, Plan<T>& plan) {
  Lowering<T>(graph, sample_shape, plan).run();
}

template void lower(const Graph<float>&, const Shape&, Plan<float>&);
template void lower(const Graph<double>&, const Shape&, Plan<double>&);

}  // namespace piste
