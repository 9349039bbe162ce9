// Attention in float64, written as the formulas stand: one query, one key at a time.
#pragma once

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/attention.h"
#include "tests/support/random_tensor.h"

namespace shardora::support {

struct AttentionCase {
  std::vector<std::int64_t> query_lengths, key_lengths;  // of each sequence
  std::int64_t heads = 1, kv_heads = 1, dim = 1;
  AttentionMask mask;
  float scale = 0.37F;

  std::int64_t queries() const { return std::accumulate(query_lengths.begin(), query_lengths.end(), std::int64_t{0}); }
  std::int64_t keys() const { return std::accumulate(key_lengths.begin(), key_lengths.end(), std::int64_t{0}); }
  Shape q_shape() const { return {queries(), heads, dim}; }
  Shape k_shape() const { return {keys(), kv_heads, dim}; }
};

inline std::vector<std::int64_t> offsets(const std::vector<std::int64_t>& lengths) {
  std::vector<std::int64_t> sums{0};
  for (const std::int64_t length : lengths) sums.push_back(sums.back() + length);
  return sums;
}

inline bool visible(const AttentionMask& mask, std::int64_t i, std::int64_t j) {
  switch (mask.kind) {
    case MaskKind::kFull:
      return true;
    case MaskKind::kCausal:
      return j <= i;
    case MaskKind::kWindow:
      return i - mask.window < j && j <= i;
  }
  return false;
}

// visit(q, k, t): a query's and a key's place in q and k, t the query's row of lse; for all pairs that see each other.
template <class Visit>
void for_each_visible_key(const AttentionCase& c, std::int64_t s, std::int64_t query, std::int64_t head, Visit visit) {
  const std::int64_t first_query = offsets(c.query_lengths)[index(s)];
  const std::int64_t first_key = offsets(c.key_lengths)[index(s)];
  const std::int64_t position = c.key_lengths[index(s)] - c.query_lengths[index(s)] + query;
  for (std::int64_t j = 0; j < c.key_lengths[index(s)]; ++j) {
    if (!visible(c.mask, position, j)) continue;
    const std::int64_t kv_head = head / (c.heads / c.kv_heads);
    visit(index(((first_query + query) * c.heads + head) * c.dim),
          index(((first_key + j) * c.kv_heads + kv_head) * c.dim), index((first_query + query) * c.heads + head));
  }
}

template <class Visit>
void for_each_query(const AttentionCase& c, Visit visit) {
  for (std::int64_t s = 0; s < static_cast<std::int64_t>(c.query_lengths.size()); ++s) {
    for (std::int64_t i = 0; i < c.query_lengths[index(s)]; ++i) {
      for (std::int64_t h = 0; h < c.heads; ++h) visit(s, i, h);
    }
  }
}

inline double product(const Vector& x, std::size_t at, const Vector& y, std::size_t from, std::int64_t dim) {
  double sum = 0;
  for (std::size_t d = 0; d < index(dim); ++d) sum += x[at + d] * y[from + d];
  return sum;
}

struct AttentionResult {
  Vector o, lse, dq, dk, dv;
};

inline AttentionResult attention_reference(const AttentionCase& c, const Vector& q, const Vector& k, const Vector& v,
                                           const Vector& d_o) {
  AttentionResult r{Vector(q.size()), Vector(index(c.queries() * c.heads)), Vector(q.size()), Vector(k.size()),
                    Vector(v.size())};
  const std::size_t dim = index(c.dim);
  for_each_query(c, [&](std::int64_t s, std::int64_t i, std::int64_t h) {
    const auto score = [&](std::size_t qa, std::size_t ka) { return c.scale * product(q, qa, k, ka, c.dim); };
    double max = -std::numeric_limits<double>::infinity();
    double sum = 0;
    for_each_visible_key(c, s, i, h, [&](auto qa, auto ka, auto) { max = std::max(max, score(qa, ka)); });
    for_each_visible_key(c, s, i, h, [&](auto qa, auto ka, auto) { sum += std::exp(score(qa, ka) - max); });
    for_each_visible_key(c, s, i, h, [&](auto qa, auto ka, auto t) {
      r.lse[t] = max + std::log(sum);
      const double p = std::exp(score(qa, ka) - r.lse[t]);
      for (std::size_t d = 0; d < dim; ++d) r.o[qa + d] += p * v[ka + d];
    });
    for_each_visible_key(c, s, i, h, [&](auto qa, auto ka, auto t) {
      const double p = std::exp(score(qa, ka) - r.lse[t]);
      const double dp = product(d_o, qa, v, ka, c.dim) - product(d_o, qa, r.o, qa, c.dim);
      for (std::size_t d = 0; d < dim; ++d) {
        r.dq[qa + d] += p * dp * c.scale * k[ka + d];
        r.dk[ka + d] += p * dp * c.scale * q[qa + d];
        r.dv[ka + d] += p * d_o[qa + d];
      }
    });
  });
  return r;
}

}  // namespace shardora::support
