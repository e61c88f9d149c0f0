#include "engine/augment.h"

#include <algorithm>

#include "dispatch/dispatch.h"
#include "engine/random.h"

namespace piste {

template <class T>
Augmenter<T>::Augmenter(const Run<T>& run, const MapShape& shape)
    : augmentation_(*run.augmentation),
      channels_(shape.channels),
      height_(shape.height),
      width_(shape.width),
      random_(run.training && (augmentation_.flip > 0 || augmentation_.padding > 0)),
      key_(step_key(run.seed, run.step, -2)) {}  // no layer has that number

template <class T>
typename Augmenter<T>::Window Augmenter<T>::draw(Index i) const {
  const std::uint64_t place = mixed(key_ + static_cast<std::uint64_t>(i));
  const std::uint64_t other = mixed(place);
  const auto span = static_cast<std::uint64_t>(2 * augmentation_.padding + 1);
  Window window;
  window.top = static_cast<Index>((place >> 32) * span >> 32) - augmentation_.padding;
  window.left = static_cast<Index>((place & 0xffffffffu) * span >> 32) - augmentation_.padding;
  window.flip = static_cast<double>(other >> 11) * 0x1p-53 < augmentation_.flip;
  return window;
}

template <class T>
void Augmenter<T>::apply(const T* x, Index i, T* y) const {
  const auto row = kernel_table<T>().layout->row;
  const Window window = random_ ? draw(i) : Window{};
  const bool moves = window.top || window.left || window.flip;
  const Index first = std::clamp<Index>(-window.left, 0, width_);  // columns that lie in the image
  const Index last = std::clamp<Index>(width_ - window.left, first, width_);
  const Index begin = window.flip ? width_ - last : first, end = begin + (last - first);
  for (Index c = 0; c < channels_; ++c) {
    const T std = augmentation_.std.empty() ? T(1) : augmentation_.std[c];
    const T mean = augmentation_.mean.empty() ? T(0) : augmentation_.mean[c];
    const T scale = 1 / std, shift = -mean / std;
    if (!moves) {
      row(x, y, height_ * width_, scale, shift, false);
      x += height_ * width_;
      y += height_ * width_;
      continue;
    }
    for (Index h = 0; h < height_; ++h, y += width_) {
      const Index from = h + window.top;
      if (from < 0 || from >= height_ || first == last) {
        std::fill_n(y, width_, shift);
        continue;
      }
      std::fill_n(y, begin, shift);
      row(x + from * width_ + first + window.left, y + begin, end - begin, scale, shift,
          window.flip);
      std::fill_n(y + end, width_ - end, shift);
    }
    x += height_ * width_;
  }
}

template class Augmenter<float>;
template class Augmenter<double>;

}  // namespace piste
