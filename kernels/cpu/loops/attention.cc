// Attention forward: 16 queries side by side in the lanes, keys one after another, softmax kept up to date (online).
// A task is one head's tile of queries; each output has one writer, so the order of tasks changes no bit.
#include <omp.h>

#include <cmath>
#include <limits>

#include "kernels/cpu/loops/attention_tiles.h"
#include "kernels/cpu/loops/level_loops.h"
#include "kernels/cpu/loops/panel.h"
#include "kernels/cpu/loops/vector_math.h"

namespace shardora::cpu::SHARDORA_LEVEL {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr std::int64_t kPanels = kTile / kPanel;

// 16 queries on their way through the keys.
struct Queries {
  PanelRow* q;  // [head_dim], scaled
  PanelRow* o;  // [head_dim], not yet divided by `sum`
  PanelRow max, sum;
  Range positions;
};

// What one thread works in, cut from `rows`.
struct Workspace {
  Queries panels[kPanels];
  PanelRow* scores;  // [kTile], one row a key
  float *k, *v;      // [kTile, head_dim]

  static std::int64_t rows_needed(std::int64_t dim) { return kTile + kPanels * 4 * dim; }
  Workspace(PanelRow* rows, std::int64_t dim) : scores(rows) {
    rows += kTile;
    k = rows[0].x;
    v = rows[kPanels * dim].x;
    rows += 2 * kPanels * dim;
    for (Queries& panel : panels) {
      panel.q = rows;
      panel.o = rows + dim;
      rows += 2 * dim;
    }
  }
};

struct Task {
  Sequence sequence;
  Range queries;  // within the sequence
};

// One head of the operation.
struct Head {
  const AttentionForward& op;
  std::int64_t head, dim;
  std::int64_t q_stride, k_stride;  // from token to token

  Head(const AttentionForward& o, std::int64_t h)
      : op(o), head(h), dim(o.q.size(2)), q_stride(o.q.size(1) * dim), k_stride(o.k.size(1) * dim) {}
  std::int64_t kv_head() const { return head / (op.q.size(1) / op.k.size(1)); }
  const float* q(std::int64_t t) const { return op.q.as<float>() + t * q_stride + head * dim; }
  float* o(std::int64_t t) const { return op.o.as<float>() + t * q_stride + head * dim; }
  float* lse(std::int64_t t) const { return op.lse.as<float>() + t * op.q.size(1) + head; }
  const float* k(std::int64_t t) const { return op.k.as<float>() + t * k_stride + kv_head() * dim; }
  const float* v(std::int64_t t) const { return op.v.as<float>() + t * k_stride + kv_head() * dim; }
};

// Rows that lie a stride apart, one after another. Where they lie they share few cache sets: a stride is often a large
// power of two, or nearly one.
void pack_rows(const float* from, std::int64_t stride, std::int64_t rows, std::int64_t width, float* to) {
  for (std::int64_t i = 0; i < rows; ++i) std::copy_n(from + i * stride, width, to + i * width);
}

void load(const Head& head, const Sequence& sequence, Range queries, Queries& panel) {
  panel.positions = {sequence.shift() + queries.first, sequence.shift() + queries.last};
  std::fill_n(panel.q[0].x, head.dim * kPanel, 0.0F);
  std::fill_n(panel.o[0].x, head.dim * kPanel, 0.0F);
  std::fill_n(panel.max.x, kPanel, kMinusInfinity);
  std::fill_n(panel.sum.x, kPanel, 0.0F);
  for (std::int64_t i = 0; i < queries.count(); ++i) {
    const float* const q = head.q(sequence.queries.first + queries.first + i);
    for (std::int64_t d = 0; d < head.dim; ++d) panel.q[d].x[i] = head.op.scale * q[d];
  }
}

void hide_invisible(const AttentionMask& mask, Range positions, Range keys, PanelRow* scores) {
  if (all_visible(mask, positions, keys)) return;
  for (std::int64_t j = keys.first; j < keys.last; ++j) {
    const Range seen = seeing_positions(mask, {j, j + 1}, positions);
    keep_lanes(seen.first - positions.first, seen.last - positions.first, kMinusInfinity, scores[j - keys.first].x);
  }
}

PanelRow maximum(PanelRow start, const PanelRow* scores, std::int64_t keys) {
  Vector max[kVectors];
  std::copy_n(reinterpret_cast<const Vector*>(start.x), kVectors, max);
  for (std::int64_t j = 0; j < keys; ++j) {
    const auto* const row = reinterpret_cast<const Vector*>(scores[j].x);
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) max[v] = row[v] > max[v] ? row[v] : max[v];
  }
  std::copy_n(max, kVectors, reinterpret_cast<Vector*>(start.x));
  return start;
}

// Scores become exp(score - max); what was summed under an older maximum shrinks to the new one.
void update_softmax(std::int64_t keys, std::int64_t dim, PanelRow* scores, Queries& panel) {
  const PanelRow max = maximum(panel.max, scores, keys);
  PanelRow shift;  // a query that has seen no key yet keeps -inf, and -inf - -inf is not a number
  PanelRow shrink;
  for (int i = 0; i < kPanel; ++i) shift.x[i] = max.x[i] == kMinusInfinity ? 0.0F : max.x[i];
  for (int i = 0; i < kPanel; ++i) shrink.x[i] = fast_exp_up_to_one(panel.max.x[i] - shift.x[i]);
  PanelRow sum{};
  for (std::int64_t j = 0; j < keys; ++j) {
#pragma omp simd
    for (int i = 0; i < kPanel; ++i) {
      const float p = fast_exp_up_to_one(scores[j].x[i] - shift.x[i]);
      scores[j].x[i] = p;
      sum.x[i] += p;
    }
  }
  for (int i = 0; i < kPanel; ++i) panel.sum.x[i] = panel.sum.x[i] * shrink.x[i] + sum.x[i];
  panel.max = max;
  for (std::int64_t d = 0; d < dim; ++d) {
    for (int i = 0; i < kPanel; ++i) panel.o[d].x[i] *= shrink.x[i];
  }
}

void attend(const Head& head, const Sequence& sequence, Range tile, Queries& panel, const Workspace& work) {
  const Range keys = overlap(tile, visible_keys(head.op.mask, panel.positions, sequence.keys.count()));
  if (keys.count() == 0) return;
  PanelRow* const scores = work.scores;
  const std::int64_t first = (keys.first - tile.first) * head.dim;
  multiply_panel({.a = work.k + first,
                  .a_row = head.dim,
                  .a_inner = 1,
                  .b = panel.q[0].x,
                  .b_row = kPanel,
                  .c = scores[0].x,
                  .c_row = kPanel,
                  .inner = head.dim,
                  .accumulate = false},
                 keys.count());
  hide_invisible(head.op.mask, panel.positions, keys, scores);
  update_softmax(keys.count(), head.dim, scores, panel);
  multiply_panel({.a = work.v + first,
                  .a_row = 1,
                  .a_inner = head.dim,
                  .b = scores[0].x,
                  .b_row = kPanel,
                  .c = panel.o[0].x,
                  .c_row = kPanel,
                  .inner = keys.count()},
                 head.dim);
}

void store(const Head& head, const Sequence& sequence, const Queries& panel) {
  const std::int64_t first = sequence.queries.first + panel.positions.first - sequence.shift();
  for (std::int64_t i = 0; i < panel.positions.count(); ++i) {
    const float inverse = 1.0F / panel.sum.x[i];
    float* const o = head.o(first + i);
    for (std::int64_t d = 0; d < head.dim; ++d) o[d] = panel.o[d].x[i] * inverse;
    *head.lse(first + i) = panel.max.x[i] + std::log(panel.sum.x[i]);
  }
}

void run(const Head& head, const Task& task, Workspace& work) {
  const Sequence& sequence = task.sequence;
  const std::int64_t panels = (task.queries.count() + kPanel - 1) / kPanel;
  for (std::int64_t p = 0; p < panels; ++p) {
    const std::int64_t first = task.queries.first + p * kPanel;
    load(head, sequence, {first, std::min(first + kPanel, task.queries.last)}, work.panels[p]);
  }
  const Range positions{sequence.shift() + task.queries.first, sequence.shift() + task.queries.last};
  const Range keys = visible_keys(head.op.mask, positions, sequence.keys.count());
  for (std::int64_t first = keys.first; first < keys.last; first += kTile) {
    const Range tile{first, std::min(first + kTile, keys.last)};
    pack_rows(head.k(sequence.keys.first + first), head.k_stride, tile.count(), head.dim, work.k);
    pack_rows(head.v(sequence.keys.first + first), head.k_stride, tile.count(), head.dim, work.v);
    for (std::int64_t p = 0; p < panels; ++p) attend(head, sequence, tile, work.panels[p], work);
  }
  for (std::int64_t p = 0; p < panels; ++p) store(head, sequence, work.panels[p]);
}

}  // namespace

void LevelLoops::attention_forward(const AttentionForward& op) {
  check(op);
  const std::int64_t heads = op.q.size(1);
  const std::int64_t dim = op.q.size(2);
  const std::int64_t tiles = (longest(op.query_offsets) + kTile - 1) / kTile;
  const std::int64_t rows = Workspace::rows_needed(dim);
  auto* const memory = reinterpret_cast<PanelRow*>(scratch_.floats(omp_get_max_threads() * rows * kPanel));
#pragma omp parallel
  {
    Workspace work(memory + omp_get_thread_num() * rows, dim);
    // Dynamic, since causal tiles differ in length; who runs a task does not change its result. All tiles of a head
    // follow one another, so that its keys and values stay in the caches.
#pragma omp for schedule(dynamic)
    for (std::int64_t i = 0; i < sequence_count(op) * tiles * heads; ++i) {
      const Sequence sequence = sequence_of(op, i / (tiles * heads));
      const std::int64_t first = (tiles - 1 - i % tiles) * kTile;
      const Range queries = overlap<std::int64_t>({first, first + kTile}, {0, sequence.queries.count()});
      if (queries.count() > 0) run(Head(op, i / tiles % heads), {sequence, queries}, work);
    }
  }
}

}  // namespace shardora::cpu::SHARDORA_LEVEL
