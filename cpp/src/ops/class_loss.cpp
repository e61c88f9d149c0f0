// Losses of rows of classes, one target per row.

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "base/workspace.h"
#include "dispatch/dispatch.h"
#include "ops/elementwise.h"
#include "piste/loss.h"

namespace piste {
namespace {

constexpr const char* tag = "loss";
constexpr Index tile_values = 1 << 12;     // of a block of rows: it stays in L1
constexpr Index min_tile_pixels = 16;      // a cache line of each class
constexpr Index gathered_grain = 1 << 10;  // values of a task that stand far from each other

/// (samples, classes, pixels): a row is the classes of one pixel.
struct Rows {
  Index samples, classes, pixels;

  explicit Rows(const Shape& shape) {
    check(shape.rank() == 3, tag, "expected an input (n, classes, pixels), got ", shape);
    samples = shape[0], classes = shape[1], pixels = shape[2];
  }
  Index count() const { return samples * pixels; }
  /// body(row, the place of its first class) for the rows [first, end). Divides once only.
  template <class Body>
  void for_rows(Index first, Index end, Body&& body) const {
    if (first >= end) return;
    Index pixel = first % pixels, at = first / pixels * classes * pixels + pixel;
    for (Index row = first; row < end; ++row, ++at) {
      body(row, at);
      if (++pixel < pixels) continue;
      pixel = 0;
      at += (classes - 1) * pixels;
    }
  }
  Shape per_row() const { return {samples, pixels}; }
  template <class T>
  void check_rows(const View<T>& view, const char* name) const {
    check(!view || view.shape == per_row(), tag, name, " has shape ", view.shape, ", expected ",
          per_row());
  }
  template <class T>
  void check_weight(const View<T>& weight) const {
    check(!weight || weight.shape == Shape{classes}, tag, "weight has shape ", weight.shape,
          ", expected ", Shape{classes});
  }
  template <class T>
  void check_values(const View<T>& view, const char* name) const {
    check(!view || view.shape == Shape{samples, classes, pixels}, tag, name, " has shape ",
          view.shape, ", expected ", Shape{samples, classes, pixels});
  }
};

/// Arrays (samples, classes, pixels) that are read and written row by row; null: none.
template <class T>
struct RowArrays {
  std::array<const T*, 2> in{};
  std::array<T*, 2> out{};
};

/// Calls row(index, arrays) for each row, with pointers to its classes side by side, and adds up
/// what it returns, in an order that the shape fixes. Where a sample has more than one pixel the
/// rows of a block are gathered into scratch memory first.
template <class T, class Row>
double for_each_row(const Rows& rows, const RowArrays<T>& arrays, Row&& row) {
  const Index classes = rows.classes, pixels = rows.pixels;
  const Index tile = std::min(pixels, std::max(min_tile_pixels, tile_values / (classes + 1)));
  const Index tiles = pixels ? (pixels + tile - 1) / tile : 0;
  const Split split = even_split(rows.samples * tiles,
                                 std::max<Index>(elementwise_grain / (tile * classes + 1), 1));
  std::vector<double> sums(static_cast<std::size_t>(split.count));
  const Index scratch_values = pixels == 1 ? 0 : 4 * tile * classes;
  const Workspace scratch(static_cast<std::size_t>(scratch_values) * sizeof(T) *
                          static_cast<std::size_t>(parallel_workers(split.count)));
  const auto transpose = kernel_table<T>().layout->transpose;

  const auto run_tile = [&](Index sample, Index first, Index count, T* memory) {
    const Index base = sample * classes * pixels + first;
    RowArrays<T> local;
    for (std::size_t k = 0; k < 2; ++k) {
      if (arrays.in[k]) {
        local.in[k] = arrays.in[k] + base;
        if (memory) {
          T* gathered = memory + static_cast<Index>(k) * tile * classes;
          transpose(local.in[k], pixels, gathered, classes, classes, count, classes);
          local.in[k] = gathered;
        }
      }
      if (arrays.out[k])
        local.out[k] =
            memory ? memory + static_cast<Index>(2 + k) * tile * classes : arrays.out[k] + base;
    }
    double sum = 0;
    for (Index p = 0; p < count; ++p) {
      RowArrays<T> one = local;
      for (const T*& x : one.in) x = x ? x + p * classes : x;
      for (T*& y : one.out) y = y ? y + p * classes : y;
      sum += row(sample * pixels + first + p, one);
    }
    for (std::size_t k = 0; memory && k < 2; ++k)
      if (arrays.out[k])
        transpose(local.out[k], classes, arrays.out[k] + base, pixels, count, classes, count);
    return sum;
  };

  parallel_for(split.count, [&](Index task, int worker) {
    T* memory = scratch_values ? scratch.as<T>() + worker * scratch_values : nullptr;
    double sum = 0;
    for (Index i = split.begin(task); i < split.end(task); ++i) {
      const Index first = i % tiles * tile;
      sum += run_tile(i / tiles, first, std::min(tile, pixels - first), memory);
    }
    sums[static_cast<std::size_t>(task)] = sum;
  });
  double total = 0;
  for (double sum : sums) total += sum;
  return total;
}

template <class T>
Rows checked(const LabelLossInput<T>& loss) {
  const Rows rows(loss.input.shape);
  rows.check_rows(loss.labels, "target");
  check(bool(loss.labels) || rows.count() == 0, tag, "expected labels");
  rows.check_weight(loss.weight);
  return rows;
}

template <class T>
bool ignored(const LabelLossInput<T>& loss, Index label) {
  return label == loss.ignore_index;
}

/// The row's label; throws where it is out of range.
template <class T>
Index label_of(const LabelLossInput<T>& loss, const Rows& rows, Index row) {
  const Index label = loss.labels.data[row];
  check((label >= 0 && label < rows.classes) || ignored(loss, label), tag, "label ", label,
        " at index ", row, " is not in [0, ", rows.classes, ")");
  return label;
}

template <class T>
T weight_of(const View<const T>& weight, Index label) {
  return weight ? weight.data[label] : T(1);
}

/// The rows' losses, which f(row, label, x, dx, scale) gives, 0 for ignored ones. With dx, their
/// gradients times scale * grad.
template <class T, class F>
double label_losses(const LabelLossInput<T>& loss, View<const T> grad, T scale, View<T> losses,
                    View<T> dx, F&& f) {
  const Rows rows = checked(loss);
  rows.check_rows(grad, "grad_output");
  rows.check_rows(losses, "losses");
  rows.check_values(dx, "grad_input");
  const RowArrays<T> arrays{{loss.input.data, nullptr}, {dx.data, nullptr}};
  return for_each_row<T>(rows, arrays, [&](Index row, const RowArrays<T>& at) {
    const Index label = label_of(loss, rows, row);
    double value = 0;
    if (!ignored(loss, label))
      value = f(label, at.in[0], at.out[0], grad ? scale * grad.data[row] : scale);
    else if (dx)
      std::fill_n(at.out[0], rows.classes, T(0));
    if (losses) losses.data[row] = static_cast<T>(value);
    return value;
  });
}

template <class T>
double cross_entropy_rows(const LabelLossInput<T>& loss, T label_smoothing, View<const T> grad,
                          T scale, View<T> losses, View<T> dx) {
  const auto kernel = kernel_table<T>().loss->cross_entropy;
  const Index classes = checked(loss).classes;
  return label_losses<T>(loss, grad, scale, losses, dx, [&](Index label, const T* x, T* d, T s) {
    return kernel(x, classes, label, loss.weight.data, label_smoothing, d, s);
  });
}

template <class T>
double multi_margin_rows(const LabelLossInput<T>& loss, int p, T margin, View<const T> grad,
                         T scale, View<T> losses, View<T> dx) {
  check(p == 1 || p == 2, tag, "expected p 1 or 2, got ", p);
  const auto kernel = kernel_table<T>().loss->multi_margin;
  const Index classes = checked(loss).classes;
  return label_losses<T>(loss, grad, scale, losses, dx, [&](Index label, const T* x, T* d, T s) {
    const T w = weight_of(loss.weight, label);
    return double(w) * kernel(x, classes, label, p, margin, d, s * w);
  });
}

template <class T>
double probability_rows(View<const T> input, View<const T> target, View<const T> weight,
                        T label_smoothing, View<const T> grad, T scale, View<T> losses, View<T> dx,
                        View<T> dtarget) {
  const Rows rows(input.shape);
  rows.check_values(target, "target");
  rows.check_weight(weight);
  rows.check_rows(grad, "grad_output");
  rows.check_rows(losses, "losses");
  rows.check_values(dx, "grad_input");
  rows.check_values(dtarget, "grad_target");
  const auto kernel = kernel_table<T>().loss->cross_entropy_probabilities;
  const RowArrays<T> arrays{{input.data, target.data}, {dx.data, dtarget.data}};
  return for_each_row<T>(rows, arrays, [&](Index row, const RowArrays<T>& at) {
    const double value = kernel(at.in[0], rows.classes, at.in[1], weight.data, label_smoothing,
                                at.out[0], at.out[1], grad ? scale * grad.data[row] : scale);
    if (losses) losses.data[row] = static_cast<T>(value);
    return value;
  });
}

/// Of the labels [first, end).
template <class T>
LabelCount count_part(const std::int64_t* labels, Index first, Index end, Index classes,
                      View<const T> weight, std::optional<Index> ignore_index) {
  LabelCount part;
  Index ignored, wrong;
  kernel_table<T>().loss->count_labels(labels + first, end - first, classes,
                                       ignore_index.value_or(0), &ignored, &wrong);
  if (!ignore_index)
    ignored = 0;
  else if (*ignore_index < 0 || *ignore_index >= classes)
    wrong -= ignored;
  part.counted = end - first - ignored;
  part.weight = static_cast<double>(part.counted);
  if (!wrong && !weight) return part;
  part.weight = 0;
  for (Index i = first; i < end; ++i) {
    if (labels[i] == ignore_index) continue;
    if (labels[i] < 0 || labels[i] >= classes) {
      part.first_wrong = i;
      return part;
    }
    part.weight += weight_of(weight, labels[i]);
  }
  return part;
}

}  // namespace

template <class T>
LabelCount count_labels(View<const std::int64_t> labels, Index classes, View<const T> weight,
                        std::optional<Index> ignore_index) {
  check(!weight || weight.shape == Shape{classes}, tag, "weight has shape ", weight.shape,
        ", expected ", Shape{classes});
  const Split split(labels.size(), elementwise_grain);
  std::vector<LabelCount> parts(static_cast<std::size_t>(split.count));
  parallel_for(split.count, [&](Index task, int) {
    parts[static_cast<std::size_t>(task)] =
        count_part(labels.data, split.begin(task), split.end(task), classes, weight, ignore_index);
  });
  LabelCount all;
  for (const LabelCount& part : parts) {
    all.counted += part.counted;
    all.weight += part.weight;
    if (all.first_wrong < 0) all.first_wrong = part.first_wrong;
  }
  return all;
}

template <class T>
double cross_entropy(const LabelLossInput<T>& loss, T label_smoothing, View<T> losses) {
  return cross_entropy_rows<T>(loss, label_smoothing, {}, T(1), losses, {});
}

template <class T>
void cross_entropy_backward(const LabelLossInput<T>& loss, T label_smoothing, View<const T> grad,
                            T scale, View<T> dx) {
  cross_entropy_rows<T>(loss, label_smoothing, grad, scale, {}, dx);
}

template <class T>
double multi_margin_loss(const LabelLossInput<T>& loss, int p, T margin, View<T> losses) {
  return multi_margin_rows<T>(loss, p, margin, {}, T(1), losses, {});
}

template <class T>
void multi_margin_loss_backward(const LabelLossInput<T>& loss, int p, T margin, View<const T> grad,
                                T scale, View<T> dx) {
  multi_margin_rows<T>(loss, p, margin, grad, scale, {}, dx);
}

template <class T>
double cross_entropy_probabilities(View<const T> input, View<const T> target, View<const T> weight,
                                   T label_smoothing, View<T> losses) {
  return probability_rows<T>(input, target, weight, label_smoothing, {}, T(1), losses, {}, {});
}

template <class T>
void cross_entropy_probabilities_backward(View<const T> input, View<const T> target,
                                          View<const T> weight, T label_smoothing,
                                          View<const T> grad, T scale, View<T> dx,
                                          View<T> dtarget) {
  probability_rows<T>(input, target, weight, label_smoothing, grad, scale, {}, dx, dtarget);
}

template <class T>
double nll_loss(const LabelLossInput<T>& loss, View<T> losses) {
  const Rows rows = checked(loss);
  rows.check_rows(losses, "losses");
  const Split split(rows.count(), gathered_grain);
  std::vector<double> sums(static_cast<std::size_t>(split.count));
  parallel_for(split.count, [&](Index task, int) {
    double sum = 0;
    rows.for_rows(split.begin(task), split.end(task), [&](Index row, Index at) {
      const Index label = label_of(loss, rows, row);
      T value = 0;
      if (!ignored(loss, label))
        value = -weight_of(loss.weight, label) * loss.input.data[at + label * rows.pixels];
      if (losses) losses.data[row] = value;
      sum += value;
    });
    sums[static_cast<std::size_t>(task)] = sum;
  });
  double total = 0;
  for (double sum : sums) total += sum;
  return total;
}

template <class T>
void nll_loss_backward(const LabelLossInput<T>& loss, View<const T> grad, T scale, View<T> dx) {
  const Rows rows = checked(loss);
  rows.check_rows(grad, "grad_output");
  rows.check_values(dx, "grad_input");
  const Stores stores = stores_of(dx);
  const Index sample = rows.classes * rows.pixels;
  const Split split(rows.samples,
                    std::max<Index>(elementwise_grain / std::max<Index>(sample, 1), 1));
  parallel_for(split.count, [&](Index task, int) {
    const Index first = split.begin(task), end = split.end(task);
    kernel_table<T>().layout->fill(dx.data + first * sample, (end - first) * sample, T(0), stores);
    rows.for_rows(first * rows.pixels, end * rows.pixels, [&](Index row, Index at) {
      const Index label = label_of(loss, rows, row);
      if (ignored(loss, label)) return;
      const T g = grad ? scale * grad.data[row] : scale;
      dx.data[at + label * rows.pixels] = -weight_of(loss.weight, label) * g;
    });
  });
}

template LabelCount count_labels(View<const std::int64_t>, Index, View<const float>,
                                 std::optional<Index>);
template double cross_entropy(const LabelLossInput<float>&, float, View<float>);
template void cross_entropy_backward(const LabelLossInput<float>&, float, View<const float>, float,
                                     View<float>);
template double cross_entropy_probabilities(View<const float>, View<const float>, View<const float>,
                                            float, View<float>);
template void cross_entropy_probabilities_backward(View<const float>, View<const float>,
                                                   View<const float>, float, View<const float>,
                                                   float, View<float>, View<float>);
template double nll_loss(const LabelLossInput<float>&, View<float>);
template void nll_loss_backward(const LabelLossInput<float>&, View<const float>, float,
                                View<float>);
template double multi_margin_loss(const LabelLossInput<float>&, int, float, View<float>);
template void multi_margin_loss_backward(const LabelLossInput<float>&, int, float,
                                         View<const float>, float, View<float>);
template LabelCount count_labels(View<const std::int64_t>, Index, View<const double>,
                                 std::optional<Index>);
template double cross_entropy(const LabelLossInput<double>&, double, View<double>);
template void cross_entropy_backward(const LabelLossInput<double>&, double, View<const double>,
                                     double, View<double>);
template double cross_entropy_probabilities(View<const double>, View<const double>,
                                            View<const double>, double, View<double>);
template void cross_entropy_probabilities_backward(View<const double>, View<const double>,
                                                   View<const double>, double, View<const double>,
                                                   double, View<double>, View<double>);
template double nll_loss(const LabelLossInput<double>&, View<double>);
template void nll_loss_backward(const LabelLossInput<double>&, View<const double>, double,
                                View<double>);
template double multi_margin_loss(const LabelLossInput<double>&, int, double, View<double>);
template void multi_margin_loss_backward(const LabelLossInput<double>&, int, double,
                                         View<const double>, double, View<double>);

}  // namespace piste
