#include "ops/pool_planes.h"

#include <algorithm>
#include <limits>

namespace piste {
namespace {

constexpr Index band_bytes = 1 << 18;  // scratch that stays in the second-level cache
constexpr Index largest_pixel = std::numeric_limits<std::int32_t>::max();  // argmax is int32

Index padded(Index bytes) { return static_cast<Index>(round_up(bytes, alignment)); }

}  // namespace

PoolProblem::PoolProblem(const char* tag, const Shape& x, const Shape& y) {
  check(x.rank() == 5, tag, "input: expected (N, C, D, H, W), got shape ", x);
  check(y.rank() == 5 && y[0] == x[0] && y[1] == x[1], tag, "output of shape ", y,
        " does not fit the input's ", x);
  for (int axis = 2; axis < 5; ++axis)
    check(x[axis] > 0, tag, "input: only batch and channels may be empty, got shape ", x);
  volumes = checked_mul(x[0], x[1]);
  for (int axis = 0; axis < 3; ++axis) {
    in[axis] = x[axis + 2];
    out[axis] = y[axis + 2];
  }
  check(checked_mul(checked_mul(in[0], in[1]), in[2]) <= largest_pixel, tag,
        "input: volumes may have at most ", largest_pixel, " pixels, got shape ", x);
  check(checked_mul(checked_mul(out[0], out[1]), out[2]) <= largest_pixel, tag,
        "output: volumes may have at most ", largest_pixel, " pixels, got shape ", y);
}

bool PoolProblem::global() const {
  for (int axis = 0; axis < 3; ++axis)
    if (out[axis] != 1 || spans[axis][0].count != in[axis]) return false;
  return true;
}

template <class T>
PoolPlanes<T>::PoolPlanes(const PoolProblem& problem, bool backward, bool max)
    : problem_(problem), lanes_(kernel_table<T>().lanes) {
  groups_ = (problem.volumes + lanes_ - 1) / lanes_;
  outermost_ = problem.in[0] > 1 || problem.out[0] > 1   ? 0
               : problem.in[1] > 1 || problem.out[1] > 1 ? 1
                                                         : 2;
  in_row_ = out_row_ = 1;
  for (int axis = outermost_ + 1; axis < 3; ++axis) {
    in_row_ *= problem.in[axis];
    out_row_ *= problem.out[axis];
  }
  make_bands(backward);
  const Index size = sizeof(T);
  for (const Band& band : bands_) {
    x_bytes_ = std::max(x_bytes_, padded((band.in_end - band.in_begin) * in_row_ * lanes_ * size));
    y_bytes_ =
        std::max(y_bytes_, padded((band.out_end - band.out_begin) * out_row_ * lanes_ * size));
  }
  bytes_ = x_bytes_ + y_bytes_ + (max ? y_bytes_ : 0);
}

// Outputs [begin, end) whose windows reach the inputs [first, last), and the inputs that they
// reach.
PoolBand reaching(const std::vector<PoolSpan>& spans, Index first, Index last) {
  PoolBand band{0, 0, first, last};
  bool any = false;
  for (Index o = 0; o < static_cast<Index>(spans.size()); ++o) {
    const PoolSpan& s = spans[o];
    const Index end = s.count ? s.first + (s.count - 1) * s.step + 1 : s.first;
    if (s.count == 0 || s.first >= last || end <= first) continue;
    if (!any) band.out_begin = o;
    any = true;
    band.out_end = o + 1;
    band.in_begin = std::min(band.in_begin, s.first);
    band.in_end = std::max(band.in_end, end);
  }
  return band;
}

PoolBand reached(const std::vector<PoolSpan>& spans, Index begin, Index end) {
  PoolBand band{begin, end, std::numeric_limits<Index>::max(), 0};
  for (Index o = begin; o < end; ++o) {
    const PoolSpan& s = spans[o];
    if (s.count == 0) continue;
    band.in_begin = std::min(band.in_begin, s.first);
    band.in_end = std::max(band.in_end, s.first + (s.count - 1) * s.step + 1);
  }
  band.in_begin = std::min(band.in_begin, band.in_end);
  return band;
}

template <class T>
void PoolPlanes<T>::make_bands(bool backward) {
  const std::vector<PoolSpan>& spans = problem_.spans[outermost_];
  const Index extent = backward ? problem_.in[outermost_] : problem_.out[outermost_];
  const Index other = backward ? problem_.out[outermost_] : problem_.in[outermost_];
  // Bytes of one coordinate of the axis that is parted, with its share of the other's.
  const Index row = backward ? in_row_ : out_row_, other_row = backward ? out_row_ : in_row_;
  const Index bytes =
      lanes_ * Index(sizeof(T)) * (row + other_row * other / std::max<Index>(extent, 1));
  const Split split(extent, std::max<Index>(band_bytes / std::max<Index>(bytes, 1), 1), extent);
  for (Index i = 0; i < split.count; ++i) {
    Band band;
    static_cast<PoolBand&>(band) = backward ? reaching(spans, split.begin(i), split.end(i))
                                            : reached(spans, split.begin(i), split.end(i));
    band.own_begin = split.begin(i);
    band.own_end = split.end(i);
    band.spans.assign(spans.begin() + band.out_begin, spans.begin() + band.out_end);
    for (PoolSpan& s : band.spans) s.first -= band.in_begin;
    bands_.push_back(std::move(band));
  }
}

template <class T>
typename PoolPlanes<T>::Block PoolPlanes<T>::block(Index task, std::byte* scratch) const {
  const Index bands = static_cast<Index>(bands_.size());
  const Band& band = bands_[task % bands];
  Block b;
  b.band = band;
  b.own_begin = band.own_begin;
  b.own_end = band.own_end;
  b.first_volume = task / bands * lanes_;
  b.in_at = band.in_begin * in_row_;
  b.out_at = band.out_begin * out_row_;
  b.geometry.channels = std::min(lanes_, problem_.volumes - b.first_volume);
  b.geometry.row_stride = lanes_;
  for (int axis = 0; axis < 3; ++axis) {
    const bool cut = axis == outermost_;
    b.geometry.in[axis] = cut ? band.in_end - band.in_begin : problem_.in[axis];
    b.geometry.out[axis] = cut ? band.out_end - band.out_begin : problem_.out[axis];
    b.geometry.spans[axis] = cut ? band.spans.data() : problem_.spans[axis].data();
  }
  b.x = reinterpret_cast<T*>(scratch);
  b.y = reinterpret_cast<T*>(scratch + x_bytes_);
  b.argmax = reinterpret_cast<std::int32_t*>(scratch + x_bytes_ + y_bytes_);
  return b;
}

template class PoolPlanes<float>;
template class PoolPlanes<double>;

}  // namespace piste
