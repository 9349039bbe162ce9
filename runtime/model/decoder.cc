// Forward and backward of the whole model. Structure and loading: decoder_load.cc.
#include "runtime/model/decoder.h"

#include <algorithm>

#include "kernels/elementwise.h"
#include "kernels/rms_norm.h"
#include "runtime/observe/ranges.h"

namespace shardora {
namespace {

// Into the first rows of its room.
template <class T>
TensorView upload_values(Backend& backend, TensorView room, const std::vector<T>& values) {
  const TensorView device = room.rows(0, std::ssize(values));
  backend.copy_from_host(device, view_of(std::span(values), device.shape));
  return device;
}

constexpr std::int64_t kChunkElements = 4 << 20;  // logits of one chunk: 16 MiB
constexpr std::int64_t kLeastChunkRows = 256;     // below this the head's products lose speed

// What the chunk that begins at row `first` leaves of its rows, into `kept` [3, tokens].
void keep_row_scores(Backend& backend, const CrossEntropy& op, TensorView kept, std::int64_t first) {
  const std::int64_t tokens = kept.size(1), rows = op.row_max.size(0);
  const TensorView flat = kept.reshaped({3 * tokens});
  backend.copy(flat.rows(first, rows), op.row_max);
  for (std::int64_t k : {0, 1}) {
    backend.copy(flat.rows((k + 1) * tokens + first, rows), op.sums.reshaped({2 * rows}).rows(k * rows, rows));
  }
}

}  // namespace

// The same on every rank of the tensor group, whose reductions run chunk by chunk.
std::int64_t Decoder::chunk_rows() const {
  const std::int64_t columns = (config_.vocab_size + parallel_.size() - 1) / parallel_.size();
  return std::max(kLeastChunkRows, kChunkElements / columns);
}

Activations Decoder::take_activations(Arena& arena, const ActivationPlan& plan) const {
  const std::int64_t tokens = plan.limits.tokens, hidden = config_.hidden_size;
  const auto take = [&](std::string_view segment, DType dtype, Shape shape) {
    return arena.take(segment, dtype, shape);
  };
  const auto states = [&](Shape shape) { return take("activations", plan.dtype, shape); };
  Activations a;
  a.storage = {.tokens = take("batch", DType::kI32, {tokens}),
               .positions = take("batch", DType::kI32, {tokens}),
               .sequence_indices = take("batch", DType::kI64, {tokens}),
               .offsets = take("batch", DType::kI32, {plan.limits.sequences + 1}),
               .target_rows = take("batch", DType::kI32, {tokens}),
               .targets = take("batch", DType::kI32, {tokens}),
               .cosines = cosines_,
               .sines = sines_};
  a.layers_share = plan.training && plan.recompute == Recompute::kFull;
  a.slots = take_slots(arena, plan);
  a.h_last = states({tokens, hidden});
  a.head_x = states({tokens, hidden});
  a.head_normed = states({tokens, hidden});
  a.head_rstd = take("activations", DType::kF32, {tokens});
  if (plan.training) a.d_head = states({tokens, hidden});
  const std::int64_t rows = std::min(chunk_rows(), tokens);
  a.logits = take("logits", DType::kF32, {rows, vocabulary_.size});
  a.dlogits = plan.training && plan.dtype != DType::kF32 ? take("logits", plan.dtype, a.logits.shape) : a.logits;
  a.row_max = take("logits", DType::kF32, {rows});
  a.sums = take("logits", DType::kF32, {2 * rows});
  a.loss = take("logits", DType::kF64, {2});
  if (plan.row_scores) a.row_scores = take("logits", DType::kF32, {3, tokens});
  a.cache = take_cache(arena, plan);
  return a;
}

KvCache Decoder::take_cache(Arena& arena, const ActivationPlan& plan) const {
  KvCache cache;
  if (plan.cache_rows == 0) return cache;
  const auto take = [&](DType dtype, Shape shape) { return arena.take("cache", dtype, shape); };
  for (const Block& block : blocks_) {
    const Shape shape{plan.cache_rows, block.kv_heads, block.head_dim};
    cache.layers.push_back({.k = take(plan.dtype, shape), .v = take(plan.dtype, shape)});
  }
  cache.rows = take(DType::kI32, {plan.limits.tokens});
  cache.query_offsets = take(DType::kI32, {2 * plan.limits.tokens});
  cache.key_offsets = take(DType::kI32, {2 * plan.limits.tokens});
  return cache;
}

// Layers differ in what they save, as their adapters do: where all share memory, it is that of the largest. Without
// training that is always so, and a layer's input is gone once the next but one has its own.
std::vector<BlockSaved> Decoder::take_slots(Arena& arena, const ActivationPlan& plan) const {
  const std::int64_t tokens = plan.limits.tokens;
  const Recompute recompute = plan.training ? plan.recompute : Recompute::kNone;
  const bool share = !plan.training || recompute == Recompute::kFull;
  std::vector<BlockSaved> slots(blocks_.size());
  std::vector<TensorView> inputs(plan.training ? slots.size() : std::min<std::size_t>(2, slots.size()));
  for (TensorView& input : inputs) input = arena.take("activations", plan.dtype, {tokens, config_.hidden_size});
  const std::int64_t mark = arena.mark();
  std::int64_t end = mark;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    if (share) arena.release(mark);
    slots[i] = blocks_[i].take_saved(arena, plan.dtype, tokens, recompute);
    slots[i].h = inputs[i % inputs.size()];
    end = std::max(end, arena.mark());
  }
  arena.take("activations", DType::kU8, {end - arena.mark()});
  return slots;
}

std::vector<AttentionPlan> Decoder::attention_plans(const ActivationPlan& plan, std::int64_t longest) const {
  std::vector<AttentionPlan> plans;
  for (const Block& block : blocks_) {
    const AttentionPlan own{.heads = block.heads,
                            .kv_heads = block.kv_heads,
                            .head_dim = block.head_dim,
                            .most_tokens = plan.limits.tokens,
                            .most_sequences = plan.limits.sequences,
                            .longest = longest,
                            .mask = block.mask,
                            .dtype = plan.dtype,
                            .training = plan.training};
    if (std::find(plans.begin(), plans.end(), own) == plans.end()) plans.push_back(own);
  }
  return plans;
}

DeviceBatch Decoder::upload(const Batch& batch, const Activations& activations) const {
  const auto copy = [&](TensorView room, const auto& values) { return upload_values(backend_, room, values); };
  const DeviceBatch& room = activations.storage;
  DeviceBatch on_device = room;
  on_device.tokens = copy(room.tokens, batch.tokens);
  on_device.positions = copy(room.positions, batch.positions);
  on_device.sequence_indices = copy(room.sequence_indices, batch.sequence_indices);
  on_device.offsets = copy(room.offsets, batch.offsets);
  on_device.longest = 0;
  for (std::size_t s = 1; s < batch.offsets.size(); ++s) {
    on_device.longest = std::max<std::int64_t>(on_device.longest, batch.offsets[s] - batch.offsets[s - 1]);
  }
  on_device.target_rows = copy(room.target_rows, batch.target_rows);
  on_device.targets = copy(room.targets, batch.targets);
  return on_device;
}

DeviceBatch Decoder::upload(const Batch& batch, const CachePlaces& places, const Activations& activations) const {
  const KvCache& room = activations.cache;
  DeviceBatch on_device = upload(batch, activations);
  on_device.cache = {.layers = room.layers, .rows = upload_values(backend_, room.rows, places.rows)};
  if (places.key_offsets.empty()) return on_device;
  on_device.cache.query_offsets = upload_values(backend_, room.query_offsets, places.query_offsets);
  on_device.cache.key_offsets = upload_values(backend_, room.key_offsets, places.key_offsets);
  return on_device;
}

void Decoder::run_blocks(const Pass& pass, const Activations& activations) const {
  const std::int64_t tokens = pass.batch.tokens.size(0);
  const TensorView h = activations.slots[0].h.rows(0, tokens);
  embedding_->gather_rows(pass.batch.tokens, vocabulary_.begin, h);
  parallel_.all_reduce_embedding(h);
  for (std::size_t layer = 0; layer < blocks_.size(); ++layer) run_block(pass, activations, layer);
}

void Decoder::run_block(const Pass& pass, const Activations& activations, std::size_t layer) const {
  const ProfilerRange range(pass.profile_ranges, "layer forward", static_cast<std::int64_t>(layer));
  const bool last = layer + 1 == blocks_.size();
  const TensorView out = last ? activations.h_last : activations.slots[layer + 1].h;
  blocks_[layer].forward(pass, activations.slots[layer], out.rows(0, pass.batch.tokens.size(0)));
}

// Only rows that predict a target reach the last norm and the head.
void Decoder::head_input(const Pass& pass, const Activations& activations) const {
  const std::int64_t rows = pass.batch.target_rows.size(0);
  const TensorView x = activations.head_x.rows(0, rows);
  gather_rows(pass.backend,
              {.from = activations.h_last.rows(0, pass.batch.tokens.size(0)), .rows = pass.batch.target_rows, .to = x});
  rms_norm_forward(pass.backend, {.x = x,
                                  .weight = final_norm_.weight,
                                  .epsilon = static_cast<float>(config_.rms_norm_eps),
                                  .y = activations.head_normed.rows(0, rows),
                                  .rstd = activations.head_rstd.rows(0, rows)});
}

CrossEntropy Decoder::cross_entropy_of(const DeviceBatch& batch, const Activations& activations, Range rows) const {
  return {.logits = activations.logits.rows(0, rows.size),
          .dlogits = activations.dlogits.rows(0, rows.size),
          .targets = batch.targets.rows(rows.begin, rows.size),
          .first_column = vocabulary_.begin,
          .row_max = activations.row_max.rows(0, rows.size),
          .sums = activations.sums.rows(0, 2 * rows.size).reshaped({2, rows.size}),
          .loss = activations.loss};
}

// The passes that see the vocabulary of all ranks.
void Decoder::sum_rows(const Pass& pass, const CrossEntropy& op) const {
  cross_entropy_max(pass.backend, op);
  parallel_.all_reduce_row_max(op.row_max);
  cross_entropy_sum(pass.backend, op);
  parallel_.all_reduce_row_sums(op.sums);
}

void Decoder::head_chunk(const Pass& pass, const Activations& activations, const LossPlan& loss, Range rows) const {
  const WeightMatrix& head = head_ ? *head_ : *embedding_;
  const TensorView x = activations.head_normed.rows(rows.begin, rows.size);
  CrossEntropy op = cross_entropy_of(pass.batch, activations, rows);
  op.gradient_scale = loss.gradient_scale;
  op.write_gradient = loss.gradients;
  head.forward(x, op.logits, false);
  sum_rows(pass, op);
  cross_entropy_finish(pass.backend, op);
  if (activations.row_scores) keep_row_scores(pass.backend, op, activations.row_scores, rows.begin);
  if (!loss.gradients) return;
  head.input_gradient(op.dlogits, activations.d_head.rows(rows.begin, rows.size), false);
  const TrainableMatrix* trainable = head_ ? trainable_head_ : trainable_embedding_;
  if (trainable) trainable->weight_gradient(op.dlogits, x);
}

void Decoder::forward(const Pass& pass, const Activations& activations, const LossPlan& loss) const {
  run_blocks(pass, activations);
  const ProfilerRange range(pass.profile_ranges, "head");
  head_input(pass, activations);
  const std::int64_t rows = pass.batch.target_rows.size(0), chunk = activations.logits.size(0);
  for (std::int64_t begin = 0; begin < rows; begin += chunk) {
    head_chunk(pass, activations, loss, {begin, std::min(chunk, rows - begin)});
  }
}

TensorView Decoder::logits(const Pass& pass, const Activations& activations) const {
  run_blocks(pass, activations);
  head_input(pass, activations);
  const std::int64_t rows = pass.batch.target_rows.size(0);
  SHARDORA_CHECK(rows <= activations.logits.size(0));
  const TensorView out = activations.logits.rows(0, rows);
  (head_ ? *head_ : *embedding_).forward(activations.head_normed.rows(0, rows), out, false);
  return out;
}

Decoder::RowSums Decoder::row_sums(const Pass& pass, const Activations& activations) const {
  const CrossEntropy op = cross_entropy_of(pass.batch, activations, {0, pass.batch.target_rows.size(0)});
  sum_rows(pass, op);
  return {.largest = op.row_max, .sums = op.sums.rows(0, 1).reshaped(op.row_max.shape)};
}

std::int64_t Decoder::lowest_trained_layer() const {
  return std::find_if(blocks_.begin(), blocks_.end(), [](const Block& block) { return block.trains(); }) -
         blocks_.begin();
}

void Decoder::backward(const Pass& pass, const Activations& activations, const LayerDone& layer_done) const {
  const std::int64_t tokens = pass.batch.tokens.size(0), rows = pass.batch.target_rows.size(0);
  ScratchScope scope(pass.scratch);
  const TensorView d_normed = activations.d_head.rows(0, rows),
                   dh = scope.take({tokens, config_.hidden_size}, d_normed.dtype);
  parallel_.column_parallel_input_backward(d_normed);
  rms_norm_backward(pass.backend, {.dy = d_normed,
                                   .x = activations.head_x.rows(0, rows),
                                   .weight = final_norm_.weight,
                                   .rstd = activations.head_rstd.rows(0, rows),
                                   .dx = d_normed,
                                   .accumulate = false,
                                   .dweight = final_norm_.dweight});
  scatter_rows(pass.backend, {.from = d_normed, .rows = pass.batch.target_rows, .to = dh});
  const auto lowest = static_cast<std::size_t>(lowest_trained_layer());
  const bool embedding_trains = trainable_embedding_ != nullptr;
  for (std::size_t layer = blocks_.size(); layer-- > lowest;) {
    const ProfilerRange range(pass.profile_ranges, "layer backward", static_cast<std::int64_t>(layer));
    const bool goes_on = embedding_trains || layer != lowest;
    // The last layer's activations are still there. Its output is written again too: the same bits, for nobody.
    if (activations.layers_share && layer + 1 < blocks_.size()) run_block(pass, activations, layer);
    blocks_[layer].backward(pass, activations.slots[layer], dh, goes_on);
    if (layer_done) layer_done(static_cast<std::int64_t>(layer));
  }
  if (embedding_trains) trainable_embedding_->scatter_rows(pass.batch.tokens, vocabulary_.begin, dh);
}

}  // namespace shardora
