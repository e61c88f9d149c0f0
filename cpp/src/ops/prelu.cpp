#include <algorithm>
#include <vector>

#include "base/workspace.h"
#include "dispatch/dispatch.h"
#include "ops/elementwise.h"
#include "piste/activation.h"

namespace piste {
namespace {

constexpr Index run_width = 64;     // values of one channel that are worth rows of their own
constexpr Index row_values = 1024;  // else whole periods of the weights, about so many values

/// The array cut into pieces, each of equal rows: of parts of one channel's run, whose row of
/// weights is one weight repeated, or of whole periods (channels * inner values) of all weights.
struct Pieces {
  Index channels, inner, total;
  bool of_runs;
  Index width, longest, per_run;  // values of a row and of a piece; pieces of a run
  Index count;

  Pieces(const Shape& x, const Shape& weight) {
    check(x.rank() == 3, "prelu", "expected (outer, channels, inner), got ", x);
    check(weight == Shape{x[1]}, "prelu", "weight has shape ", weight, ", expected ", Shape{x[1]});
    channels = x[1];
    total = x.size();
    inner = channels == 1 ? 1 : x[2];
    of_runs = inner >= run_width;
    const Index period = std::max<Index>(channels * inner, 1);
    width = of_runs ? run_width : period * std::max<Index>(row_values / period, 1);
    longest = std::max<Index>(elementwise_grain / width, 1) * width;
    per_run = (inner + longest - 1) / longest;
    count = of_runs ? total / inner * per_run : (total + longest - 1) / longest;
  }

  struct Piece {
    Index begin, count, channel;  // channel: of its run
  };
  Piece piece(Index i) const {
    if (!of_runs) return {i * longest, std::min(longest, total - i * longest), 0};
    if (per_run == 1) return {i * inner, inner, i % channels};
    const Index run = i / per_run, begin = i % per_run * longest;
    return {run * inner + begin, std::min(longest, inner - begin), run % channels};
  }

  Index weight_rows() const { return of_runs ? channels : 1; }
  template <class T>
  void fill_weight_rows(const T* weight, T* rows) const {
    const Index repeats = of_runs ? width : inner, period = channels * repeats;
    for (Index c = 0; c < channels; ++c) std::fill_n(rows + c * repeats, repeats, weight[c]);
    const Index all = weight_rows() * width;
    for (Index filled = period; filled < all; filled *= 2)
      std::copy_n(rows, std::min(filled, all - filled), rows + filled);
  }

  /// body(piece's number, piece) in parallel.
  template <class Body>
  void for_each(Body&& body) const {
    const Split split =
        even_split(count, std::max<Index>(elementwise_grain / std::min(inner, longest), 1));
    const Split single(count, 1, count);
    const Split& tasks = of_runs ? split : single;
    parallel_for(tasks.count, [&](Index task, int) {
      for (Index i = tasks.begin(task); i < tasks.end(task); ++i) body(i, piece(i));
    });
  }

  /// rows(first value, number of rows, their width) for the whole rows and then the rest.
  template <class Rows>
  void for_rows(const Piece& p, Rows&& rows) const {
    const Index whole = p.count / width, rest = p.count % width;
    if (whole) rows(p.begin, whole, width);
    if (rest) rows(p.begin + whole * width, Index{1}, rest);
  }
};

}  // namespace

template <class T>
void prelu(View<const T> x, View<const T> weight, View<T> y) {
  check_same_shape("prelu", "input", x, "out", y);
  const Pieces pieces(x.shape, weight.shape);
  if (pieces.total == 0) return;
  const auto& kernels = *kernel_table<T>().pointwise;
  const Stores stores = stores_of(y);
  if (pieces.of_runs)  // of one slope each
    return pieces.for_each([&](Index, const Pieces::Piece& p) {
      kernels.forward(Activation::leaky_relu, x.data + p.begin, y.data + p.begin, p.count,
                      weight.data[p.channel], T(0), stores);
    });
  const Workspace workspace(pieces.width * sizeof(T));
  T* weights = workspace.as<T>();
  pieces.fill_weight_rows(weight.data, weights);
  pieces.for_each([&](Index, const Pieces::Piece& p) {
    pieces.for_rows(p, [&](Index at, Index rows, Index width) {
      kernels.prelu(x.data + at, weights, y.data + at, rows, width);
    });
  });
}

// Each piece sums its share of dweight (of a run: one value); the shares are added in double, in
// the pieces' order.
template <class T>
void prelu_backward(View<const T> dy, View<const T> x, View<const T> weight, View<T> dx,
                    View<T> dweight) {
  check_same_shape("prelu", "grad_output", dy, "input", x);
  check_same_shape("prelu", "input", x, "grad_input", dx);
  check_same_shape("prelu", "weight", weight, "its gradient", dweight);
  const Pieces pieces(x.shape, weight.shape);
  std::fill_n(dweight.data, dweight.size(), T(0));
  if (pieces.total == 0) return;
  const Index weight_values = pieces.weight_rows() * pieces.width;
  const Index share_values = pieces.of_runs ? 1 : pieces.width;
  const Workspace workspace((weight_values + pieces.count * share_values) * sizeof(T));
  T* weights = workspace.as<T>();
  T* shares = weights + weight_values;
  pieces.fill_weight_rows(weight.data, weights);
  const auto& kernels = *kernel_table<T>().pointwise;
  pieces.for_each([&](Index i, const Pieces::Piece& p) {
    const T* w = weights + p.channel * pieces.width;
    T lanes[run_width];
    T* share = pieces.of_runs ? lanes : shares + i * share_values;
    std::fill_n(share, pieces.width, T(0));
    pieces.for_rows(p, [&](Index at, Index rows, Index width) {
      kernels.prelu_backward(dy.data + at, x.data + at, w, dx.data + at, share, rows, width);
    });
    if (!pieces.of_runs) return;
    shares[i] = T(0);
    for (T lane : lanes) shares[i] += lane;
  });
  std::vector<double> sums(static_cast<std::size_t>(pieces.channels));
  for (Index i = 0; i < pieces.count; ++i) {
    const Index channel = pieces.piece(i).channel;
    for (Index j = 0; j < share_values; ++j)
      sums[pieces.of_runs ? channel : j / pieces.inner % pieces.channels] +=
          shares[i * share_values + j];
  }
  std::copy(sums.begin(), sums.end(), dweight.data);
}

template void prelu(View<const float>, View<const float>, View<float>);
template void prelu(View<const double>, View<const double>, View<double>);
template void prelu_backward(View<const float>, View<const float>, View<const float>, View<float>,
                             View<float>);
template void prelu_backward(View<const double>, View<const double>, View<const double>,
                             View<double>, View<double>);

}  // namespace piste
