"""The bugs that plant.py plants: silent wrong results of this field, each in the place where it would happen here.

`guards` names the invariant, in a few words; `tests` is what ctest -R tries first.
"""
from dataclasses import dataclass


@dataclass(frozen=True)
class Bug:
    name: str
    guards: str
    file: str
    text: str     # must stand exactly once in the file, spaces and line ends aside
    planted: str
    tests: str


def golden(*cases):
    return "Golden.EverySplit.*/(" + "|".join(cases) + ")( |$)"


OUTPUT, BIASES, QWEN2, QWEN3 = golden("llama_dora"), golden("llama_biases_dora"), golden("qwen2_dora"), golden("qwen3_dora")
EXACT, FULL, FULL3 = golden("qwen2_output_exact", "qwen2_input_exact"), golden("full_qwen2_tied"), golden("full_qwen3")
INPUT, SCHEDULE, PATTERNS = golden("llama_biases_input_detached"), golden("schedule_dora"), golden("patterns_dora")
WINDOW, RESUME = golden("mistral_dora"), "Resume"

TENSOR_PARALLEL = "runtime/model/tensor_parallel.h"
GRADIENTS, STEP, OPTIMIZER = "runtime/train/gradients.cc", "runtime/train/step.cc", "runtime/train/optimizer.cc"
NORMS, EXACT_GRADIENT, ADAPTER = "runtime/adapter/norms.cc", "runtime/adapter/exact_gradient.cc", "runtime/adapter/adapter.cc"
PLACEMENT, LINEAR, BLOCK, DECODER = ("runtime/model/placement.cc", "runtime/model/linear.cc", "runtime/model/block.cc",
                                     "runtime/model/decoder.cc")
DORA, FORMULAS, DORA_NORM = "kernels/cpu/loops/dora.cc", "kernels/formulas.h", "kernels/cpu/loops/dora_norm.cc"
CROSS_ENTROPY, TILES = "kernels/cpu/loops/cross_entropy.cc", "kernels/cpu/loops/attention_tiles.h"
BATCH, SAMPLER, DATASET = "runtime/data/batch.cc", "runtime/data/sampler.cc", "runtime/data/dataset.cc"
STATE, START, SAVE = "runtime/train/run_state.cc", "runtime/train/trainer_start.cc", "runtime/train/trainer_save.cc"
CHECKPOINTS, MANIFEST, IDENTITY = ("runtime/train/checkpoints.cc", "runtime/train/manifest.cc",
                                   "runtime/train/run_identity.cc")
HEADER, SAFETENSORS = "runtime/io/safetensors_header.cc", "runtime/io/safetensors_file.cc"
PEFT_TENSORS, PEFT_CONFIG = "runtime/io/peft_tensors.cc", "runtime/io/peft_config.cc"

# Every sum over ranks, dropped one at a time.
SUMS = [
    Bug("row-parallel norm over the local shard", "norm is of whole rows", NORMS,
        "backend_.wait(tensor_group.all_reduce(reduced_squares_, Reduction::kSum, backend_.record()));", ";", OUTPUT),
    Bug("norm of nearly cancelling rows over the local shard", "norm is of whole rows", NORMS,
        "tensor_group.all_reduce(view_of(std::span(sums), {std::ssize(sums)}), Reduction::kSum, {});", ";",
        "training"),
    Bug("norm counts shared KV heads once a sharer", "KV heads fewer than ranks", NORMS,
        "if (!module.reduced || module.owner) norm_parts(module, scratch);", "norm_parts(module, scratch);", QWEN2),
    Bug("output of row-parallel layers not summed", "partial sums joined", TENSOR_PARALLEL,
        "void leave_row(TensorView y) const { reduce(y, Reduction::kSum); }", "void leave_row(TensorView) const {}", OUTPUT),
    Bug("embedding not summed", "partial sums joined", TENSOR_PARALLEL,
        "void join_embedding(TensorView y) const { reduce(y, Reduction::kSum); }",
        "void join_embedding(TensorView) const {}", OUTPUT),
    Bug("softmax maximum of the local columns", "loss over the whole vocabulary", TENSOR_PARALLEL,
        "void join_row_max(TensorView row_max) const { reduce(row_max, Reduction::kMax); }",
        "void join_row_max(TensorView) const {}", OUTPUT),
    Bug("softmax sum of the local columns", "loss over the whole vocabulary", TENSOR_PARALLEL,
        "void join_row_sums(TensorView sums) const { reduce(sums, Reduction::kSum); }",
        "void join_row_sums(TensorView) const {}", OUTPUT),
    Bug("input gradient of gate and up not summed", "partial sums joined", BLOCK,
        "pass.parallel.enter_column_backward(dx2);", ";", OUTPUT),
    Bug("input gradient of q, k and v not summed", "partial sums joined", BLOCK,
        "pass.parallel.enter_column_backward(dx1);", ";", OUTPUT),
    Bug("input gradient of the head not summed", "partial sums joined", DECODER,
        "parallel_.enter_column_backward(d_normed);", ";", OUTPUT),
    Bug("partial gradients not summed over the tensor group", "gradients of replicated factors", GRADIENTS,
        "backend.wait(grid.tensor_group->all_reduce(all.rows(0, replicated), Reduction::kSum, backend.record()));", ";",
        OUTPUT),
    Bug("dA of column-parallel layers taken for complete", "gradients of replicated factors", PLACEMENT,
        "return column ? whole(shape[0], GradientPart::kPartial) : features(module, 1, shape[1], tensor_rank);",
        "return column ? whole(shape[0], GradientPart::kComplete) : features(module, 1, shape[1], tensor_rank);", OUTPUT),
    Bug("dB of row-parallel layers taken for complete", "gradients of replicated factors", PLACEMENT,
        "return column ? features(module, 0, shape[0], tensor_rank) : whole(shape[0], GradientPart::kPartial);",
        "return column ? features(module, 0, shape[0], tensor_rank) : whole(shape[0], GradientPart::kComplete);", OUTPUT),
    Bug("partial dm taken for complete", "gradients of replicated factors", PLACEMENT,
        "partial ? GradientPart::kPartial : GradientPart::kComplete", "GradientPart::kComplete", INPUT),
    Bug("gradients of shared KV heads taken for complete", "KV heads fewer than ranks", PLACEMENT,
        "placement.part = GradientPart::kPartial;", "placement.part = GradientPart::kComplete;", QWEN2),
    Bug("gradients of norms by head taken for complete", "gradients of replicated factors", PLACEMENT,
        'module_leaf == "k_norm") return whole(shape[0], GradientPart::kPartial);',
        'module_leaf == "k_norm") return whole(shape[0], GradientPart::kComplete);', FULL3),
    Bug("complete gradients summed once a rank", "gradients of replicated factors", GRADIENTS,
        "if (grid.tensor.rank != 0) backend.zero(all.rows(partial, replicated - partial));", ";", OUTPUT),
    Bug("gradients not summed over the data group", "one global batch", GRADIENTS,
        "backend.wait(grid.data_group->all_reduce(all, Reduction::kSum, backend.record()));", ";", OUTPUT),
    Bug("gradient norm without the peers' shards", "gradient norm equal at every split", GRADIENTS,
        "std::sqrt(whole + grid.tensor_group->all_reduce(shard, Reduction::kSum))", "std::sqrt(whole + shard)", OUTPUT),
    Bug("gradient norm counts replicas once a rank", "gradient norm equal at every split", GRADIENTS,
        "std::sqrt(whole + grid.tensor_group->all_reduce(shard, Reduction::kSum))",
        "std::sqrt(grid.tensor_group->all_reduce(whole + shard, Reduction::kSum))", OUTPUT),
    Bug("training loss of this rank's sequences only", "one global batch", STEP,
        "const double sum = parts_.machine.grid.data_group->all_reduce(sums[0], Reduction::kSum);", "const double sum = sums[0];",
        OUTPUT),
    Bug("evaluation loss of this rank's sequences only", "one global batch", "runtime/train/evaluate.cc",
        "const double loss = grid.data_group->all_reduce(sums[0], Reduction::kSum);", "const double loss = sums[0];", OUTPUT),
    Bug("exact gradient from a partial h", "norm gradient", EXACT_GRADIENT,
        "backend_.wait(tensor_group.all_reduce(all, Reduction::kSum, backend_.record()));", ";", EXACT),
    Bug("summed h counted once a rank", "norm gradient", EXACT_GRADIENT,
        "if (h_is_summed(module) && tensor_rank_ != 0) backend_.zero(h_of(module));", ";", EXACT),
    Bug("every sharer of a KV head adds the exact gradient", "KV heads fewer than ranks", EXACT_GRADIENT,
        "if (!h_is_summed(module) || module.owner) add_exact_gradient(module, scratch);",
        "add_exact_gradient(module, scratch);", EXACT),
]

# The mathematics of DoRA.
ADAPTATION = [
    Bug("bias scaled by the gain", "bias never scaled", DORA, "y_row[j] = gain[j] * u_row[j] + bias[j];",
        "y_row[j] = gain[j] * (u_row[j] + bias[j]);", BIASES),
    Bug("gain dropped (DoRA is LoRA)", "DoRA is not LoRA", DORA, "gain[j] = m[j] / formulas::floored_norm(n[j]);",
        "gain[j] = 1.0F;", OUTPUT),
    Bug("gradient of m not divided by the norm", "dm = h / n", DORA, "h[j] /= formulas::floored_norm(n[j]);", ";", OUTPUT),
    Bug("h from the scaled product", "dm = h / n", LINEAR,
        "scale_columns_backward(pass.backend, {.dy = dy, .u = saved.u, .gain = adapter->gain, .du = du, .h = adapter->h});\n  }",
        "scale_columns_backward(pass.backend, {.dy = dy, .u = saved.u, .gain = adapter->gain, .du = du, .h = adapter->h});\n"
        "    scale_columns_forward(pass.backend, {.u = adapter->h.reshaped({1, adapter->h.elements()}), .gain = adapter->gain, "
        ".bias = {}, .y = adapter->h.reshaped({1, adapter->h.elements()})});\n  }", OUTPUT),
    Bug("gradient of the direction without the gain", "du = g dy", LINEAR,
        "factor_gradients(pass, du, adapter_input(pass, x, x), saved.z, dz);\n  if (!dx) return;\n  weight->input_gradient(du, dx, accumulate);",
        "factor_gradients(pass, dy, adapter_input(pass, x, x), saved.z, dz);\n  if (!dx) return;\n  weight->input_gradient(du, dx, accumulate);",
        OUTPUT),
    Bug("dA without the scale", "scale of a gradient", LINEAR,
        "matmul(pass.backend, {.a = du, .b = adapter->b, .c = dz, .scale = s});",
        "matmul(pass.backend, {.a = du, .b = adapter->b, .c = dz});", OUTPUT),
    Bug("dB without the scale", "scale of a gradient", LINEAR,
        ".c = adapter->db, .transpose_a = true, .scale = s, .accumulate = true});",
        ".c = adapter->db, .transpose_a = true, .accumulate = true});", OUTPUT),
    Bug("rslora ignored", "scale alpha / sqrt(r)", ADAPTER,
        "alpha / (rslora ? std::sqrt(static_cast<double>(rank)) : static_cast<double>(rank))",
        "alpha / static_cast<double>(rank)", PATTERNS),
    Bug("norm without the cross term's factor", "norm of W + s B A", DORA_NORM, "positive + 2.0 * s * cross[j]",
        "positive + s * cross[j]", OUTPUT),
    Bug("norm without the square of B A", "norm of W + s B A", DORA_NORM, "w[first + j] + s * s * third[j]", "w[first + j]",
        OUTPUT),
    Bug("norm frozen at the first step", "norm follows A and B", NORMS,
        "norm_from_square(backend_, {.squared = module.squared, .norm = module.norm});",
        "if (version_.norms == 0) norm_from_square(backend_, {.squared = module.squared, .norm = module.norm});", OUTPUT),
    Bug("norms not refreshed after an optimizer step", "stale norms are refused", STEP, "instance.refresh_norms();", ";",
        OUTPUT),
    Bug("a parameter change not noted", "stale norms are refused", STEP,
        "if (instance.adapter()) instance.adapter()->parameters_changed();\n  instance.refresh_norms();", ";", OUTPUT),
    Bug("stale norms not refused", "stale norms are refused", LINEAR,
        "if (adapter) SHARDORA_CHECK(!adapter->version || adapter->version->norms == adapter->version->parameters);", ";",
        "Stale|training"),
    Bug("cancelling norms not repaired", "norm of W + s B A", NORMS, "kCancelling = 1.0F / 16.0F", "kCancelling = 0.0F",
        "training"),
    Bug("a zero row gives 0/0", "zero rows stay finite", FORMULAS, "return n < kSmallestNorm ? kSmallestNorm : n;",
        "return n;", "^Dora"),
    Bug("m starts at the squared norm", "m0 = |W|", ADAPTER, "{.norm = module.norm, .magnitude = parameters_->value(module.m)}",
        "{.norm = module.squared, .magnitude = parameters_->value(module.m)}", "training"),
    Bug("shards of A initialised alike", "the same start at every split", ADAPTER,
        ".first_column = module.linear->in_range.begin,", ".first_column = 0,", "training"),
    Bug("exact gradient misses the term through A", "norm gradient", EXACT_GRADIENT,
        "module.linear->weight->input_gradient(bt, lent.da, true);", ";", golden("qwen2_output_exact")),
    Bug("exact gradient misses the term through B", "norm gradient", EXACT_GRADIENT,
        "scale_columns_forward(backend_, {.u = terms, .gain = c, .bias = {}, .y = terms});\n  transpose(backend_, {.from = terms, .to = db});\n  add(backend_, {.x = db, .y = lent.db});",
        ";", golden("qwen2_output_exact")),
    Bug("merge drops m", "merged = adapted", "runtime/adapter/merge.cc", "if (input.magnitude.empty()) return;", "return;",
        "Golden.HeldOut.*/llama_dora( |$)"),
    Bug("merge equals the base", "merged = adapted", "runtime/adapter/merge.cc",
        "matmul(backend, {.a = b, .b = a, .c = weight, .scale = input.scale, .accumulate = true});", ";",
        "Golden.HeldOut.*/llama_lora( |$)"),
]

DROPOUT = [
    Bug("dropout ignored", "dropout acts", "runtime/model/linear.h",
        "return adapter && adapter->dropout > 0 && pass.training;", "return false;", "training"),
    Bug("dropout in evaluation", "dropout only in training", "runtime/model/linear.h",
        "return adapter && adapter->dropout > 0 && pass.training;", "return adapter && adapter->dropout > 0;", "training"),
    Bug("masks depend on the shard", "masks equal at every split", ADAPTER, ".first_feature = linear.in_range.begin",
        ".first_feature = 0", "training"),
    Bug("masks the same at every step", "masks drawn anew", LINEAR,
        "random_key(adapter->dropout_key, static_cast<std::uint64_t>(pass.step))", "random_key(adapter->dropout_key, 0)",
        "training"),
    Bug("masks the same in every module", "masks by module", ADAPTER, '.dropout_key = random_key(seed_, "dropout", linear.name)',
        '.dropout_key = random_key(seed_, "dropout", "module")', "training"),
    Bug("masks by place in the micro-batch", "masks equal at every split", BATCH, "sequence.tokens.size(), ref.place);",
        "sequence.tokens.size(), static_cast<std::int64_t>(batch.offsets.size()));", "training|^BatchTest"),
    Bug("kept elements not scaled up", "dropout keeps the mean", "kernels/cpu/loops/dropout.cc",
        "const float keep_scale = 1.0F / (1.0F - op.probability);", "const float keep_scale = 1.0F;", "[Dd]ropout"),
    Bug("dropout missing in the input gradient", "dropout in backward", LINEAR,
        "  dropout_into(pass, branch, dx, true);\n}\n\nvoid Linear::backward_input(",
        "  add(pass.backend, {.x = branch, .y = dx});\n}\n\nvoid Linear::backward_input(", "training"),
]

# Splits of the model.
CUTS = [
    Bug("a rank holds another rank's KV head", "KV heads fewer than ranks", PLACEMENT,
        "return {tensor_rank * kv / tensor_size_, 1};", "return {tensor_rank % kv, 1};", QWEN2),
    Bug("every sharer owns a KV head", "KV heads fewer than ranks", PLACEMENT,
        "placement.owner = tensor_rank == 0 || kv_heads(tensor_rank - 1) != heads;", "placement.owner = true;", EXACT),
    Bug("targets looked up without the column offset", "loss over the whole vocabulary", DECODER,
        ".first_column = vocabulary_.begin,", ".first_column = 0,", OUTPUT),
    Bug("token ids looked up without the row offset", "embedding by vocabulary", DECODER,
        "embedding_->gather_rows(batch.tokens, vocabulary_.begin, h);", "embedding_->gather_rows(batch.tokens, 0, h);", OUTPUT),
    Bug("embedding gradient without the row offset", "embedding by vocabulary", DECODER,
        "trainable_embedding_->scatter_rows(batch.tokens, vocabulary_.begin, dh);",
        "trainable_embedding_->scatter_rows(batch.tokens, 0, dh);", FULL),
    Bug("tied table without the head's gradient", "tied tables", DECODER, "head_ ? trainable_head_ : trainable_embedding_",
        "head_ ? trainable_head_ : nullptr", FULL),
    Bug("query heads share the wrong KV head", "grouped-query attention", "kernels/cpu/loops/attention.cc",
        "return head / (op.q.size(1) / op.k.size(1));", "return head % op.k.size(1);", OUTPUT),
    Bug("heads that do not divide are accepted", "unproven splits are refused", PLACEMENT,
        "if (works(config, tensor_size)) return;", "return;", "BadInput"),
    Bug("the second data rank reads the first one's sequences", "data ranks differ", BATCH,
        "if (lightest - loads_.begin() == data_rank_) mine_.push_back(ref);", "if (lightest == loads_.begin()) mine_.push_back(ref);",
        OUTPUT),
    Bug("replicas that differ are saved", "replicas are compared", STATE, "if (!tensor_equal || !data_equal) {", "if (false) {",
        "training"),
]

# Sequences, positions, masks, the loss.
BATCHES = [
    Bug("packed sequences see each other", "packing does not leak", BATCH, "batch.offsets.push_back(first + length);",
        "batch.offsets.resize(2);\n  batch.offsets.back() = first + length;", OUTPUT),
    Bug("positions not restarted", "packing does not leak", BATCH, "batch.positions.push_back(t);",
        "batch.positions.push_back((first + t) % 24);", OUTPUT),
    Bug("loss mask off by one", "mask says what is a target", BATCH, "sequence.loss_mask[after] != 0",
        "sequence.loss_mask[after - 1] != 0", OUTPUT),
    Bug("the last token of a sequence is never learned", "mask says what is a target", BATCH, "if (t + 1 < length &&",
        "if (t + 2 < length &&", OUTPUT),
    Bug("mean of the micro-batches' means", "one global batch", STEP,
        "decoder.forward(pass, on_device, activations, loss);",
        "decoder.forward(pass, on_device, activations, {.gradient_scale = static_cast<float>(static_cast<double>("
        "batch->offsets.size() - 1) / static_cast<double>(plan_.sequences.size()) / std::max(1.0, static_cast<double>("
        "batch->targets.size()))), .gradients = true});", OUTPUT),
    Bug("target count of all tokens", "one global batch", SAMPLER,
        "plan.target_count += sources_[index].dataset->target_count(sequence);",
        "plan.target_count += sources_[index].dataset->length(sequence);", OUTPUT),
    Bug("gradients carried into the next step", "a step starts from zero", STEP,
        "backend.zero(instance.parameters().gradients());", ";", OUTPUT),
    Bug("loss carried into the next step", "a step starts from zero", STEP, "backend.zero(activations.loss);", ";", OUTPUT),
    Bug("sliding window one key too long", "sliding window", TILES, "positions.first - mask.window + 1 : 0",
        "positions.first - mask.window : 0", "ttention"),
    Bug("sliding window ignored", "sliding window", "runtime/model/decoder_load.cc",
        ".kind = window > 0 ? MaskKind::kWindow : MaskKind::kCausal", ".kind = MaskKind::kCausal", WINDOW),
    Bug("llama3 rotary scaling ignored", "rotary scaling", "runtime/model/rope_table.cc",
        "if (config.rope_scaling == RopeScaling::kLlama3) frequency = llama3_scaled(frequency, config);", ";",
        golden("llama3_rope_dora")),
    Bug("linear rotary scaling ignored", "rotary scaling", "runtime/model/rope_table.cc",
        "if (config.rope_scaling == RopeScaling::kLinear) frequency /= static_cast<float>(config.rope_factor);", ";",
        golden("llama_tied_dora")),
    Bug("rotary embedding turns the wrong way back", "rotary embedding", "kernels/cpu/loops/rope.cc", "turn(op, -1.0F)",
        "turn(op, 1.0F)", "[Rr]ope"),
    Bug("gradient of a target off by the scale", "cross-entropy", CROSS_ENTROPY, "row[target] -= scale;",
        "row[target] -= 1.0F;", OUTPUT),
    Bug("a new epoch in the old order", "shuffle by epoch", SAMPLER,
        "shuffle(order, random_key(key, static_cast<std::uint64_t>(epoch)));", "shuffle(order, key);",
        "[Ss]ampler"),
    Bug("shuffle without the seed", "shuffle by seed", SAMPLER, 'random_key(random_key(seed_, "shuffle"), static_cast<std::uint64_t>(source))',
        'random_key(random_key(0, "shuffle"), static_cast<std::uint64_t>(source))', "[Ss]ampler"),
    Bug("a step without targets is accepted", "a step has a target", SAMPLER, "if (plan.target_count == 0) {", "if (false) {",
        "[Ss]ampler"),
    Bug("a first token as a target is accepted", "dataset contract", DATASET,
        "if (mask[static_cast<std::size_t>(offsets[k])] != 0) {", "if (false) {", "[Dd]ataset"),
    Bug("ids outside the vocabulary are accepted", "dataset contract", DATASET, "return id < 0 || id >= vocabulary;",
        "return id < 0;", "[Dd]ataset"),
    Bug("overlong sequences are cut silently", "dataset contract", DATASET, "} else if (overlong == Overlong::kTruncate) {",
        "} else if (overlong != Overlong::kDrop) {", "[Dd]ataset"),
]

OPTIMIZERS = [
    Bug("m never updated", "every trainable tensor moves", OPTIMIZER,
        "    const Parameter& parameter = parameters.all()[i];\n",
        "    const Parameter& parameter = parameters.all()[i];\n    if (parameter.kind == ParameterKind::kMagnitude) continue;\n",
        OUTPUT),
    Bug("vectors decay under full training", "weight decay", OPTIMIZER, "parameter.logical_shape.size() >= 2;", "true;", FULL),
    Bug("weight decay dropped", "weight decay", FORMULAS, "value -= s.decay * value + s.step_size", "value -= s.step_size",
        SCHEDULE),
    Bug("clipping by the norm before the sum over ranks", "clip factor equal at every split", STEP,
        "  reduce_gradients(backend, grid, instance.parameters());\n  const double norm = gradient_norm(backend, grid, instance.parameters());\n",
        "  const double norm = gradient_norm(backend, grid, instance.parameters());\n  reduce_gradients(backend, grid, instance.parameters());\n",
        OUTPUT),
    Bug("small gradients scaled up to the clip norm", "clip factor at most 1", OPTIMIZER,
        "std::min(1.0, clip_norm / (gradient_norm + 1e-6))", "clip_norm / (gradient_norm + 1e-6)", SCHEDULE),
    Bug("gradients not clipped", "clip factor", STEP, "clip_factor(norm, parts_.options.clip_norm));", "1.0);", OUTPUT),
    Bug("AdamW without bias correction", "AdamW as torch", FORMULAS,
        "const double correction1 = 1.0 - std::pow(beta1, static_cast<double>(step));", "const double correction1 = 1.0;",
        OUTPUT),
    Bug("AdamW's epsilon inside the root", "AdamW as torch", FORMULAS,
        "(std::sqrt(m2) / s.root_correction2 + s.epsilon)", "(std::sqrt(m2 + s.epsilon) / s.root_correction2)", OUTPUT),
    Bug("AdamW's epsilon before the bias correction", "AdamW as torch", FORMULAS,
        "(std::sqrt(m2) / s.root_correction2 + s.epsilon)", "((std::sqrt(m2) + s.epsilon) / s.root_correction2)", "[Aa]dam[Ww]"),
    Bug("learning rate one step ahead", "schedule", "runtime/train/schedule.cc", "static_cast<double>(step - 1 - warmup_)",
        "static_cast<double>(step - warmup_)", SCHEDULE),
    Bug("warm-up one step behind", "schedule", "runtime/train/schedule.cc", "return peak * static_cast<double>(step) /",
        "return peak * static_cast<double>(step - 1) /", SCHEDULE),
    Bug("schedule ignores the minimum", "schedule", "runtime/train/schedule.cc",
        "const double least = std::min(minimum_, peak);", "const double least = 0;", SCHEDULE),
    Bug("m at the common learning rate", "magnitude_learning_rate", OPTIMIZER,
        "parameter.kind == ParameterKind::kMagnitude ? schedule.magnitude(step) : schedule(step)", "schedule(step)", SCHEDULE),
    Bug("B at the common learning rate", "b_learning_rate_ratio", OPTIMIZER,
        "if (parameter.kind == ParameterKind::kB) rate *= options.b_learning_rate_ratio;", ";", SCHEDULE),
    Bug("not finite gradients are applied", "not finite is an error", STEP, "if (std::isfinite(loss) && std::isfinite(gradient_norm)) return;",
        "return;", "ALossThat"),
]

# What is written, read and continued.
FILES = [
    Bug("a resume at another instruction set goes unsaid", "bits depend on the level", START,
        "if (now == saved) return;", "if (!now.empty()) return;", RESUME),
    Bug("first moments lost on resume", "resume is exact", STATE,
        'scatter_logical(backend, parameter, take("moment1." + parameter.name, parameter).f32(), parameters.moment1(i));', ";",
        RESUME),
    Bug("moments swapped on resume", "resume is exact", STATE,
        'take("moment2." + parameter.name, parameter).f32(), parameters.moment2(i)',
        'take("moment1." + parameter.name, parameter).f32(), parameters.moment2(i)', RESUME),
    Bug("the step is not restored", "resume is exact", STATE, '{.step = whole("step"),', "{.step = 0,", RESUME),
    Bug("initial magnitudes lost on resume", "resume is exact", STATE,
        "copy_to_local(take(\"initial.\" + parameter.name, parameter).f32(), parameter.logical_shape,\n"
        "                  parameter.placement.axis, parameter.placement.stored, m0);", ";", RESUME),
    Bug("another configuration is accepted on resume", "resume is the same run", IDENTITY, "if (before == value) continue;",
        "continue;", RESUME),
    Bug("values that are not finite are saved", "not finite is never saved", SAVE, "if (!std::isfinite(value)) {",
        "if (false) {", "ALossThat"),
    Bug("a checkpoint's checksums are not compared", "damaged checkpoints are found", CHECKPOINTS,
        "if (with_checksums && found->second.checksum != record.checksum) {", "if (false) {", "CheckpointsTest"),
    Bug("a checkpoint's sizes are not compared", "damaged checkpoints are found", CHECKPOINTS,
        "if (found->second.bytes != record.bytes) {", "if (false) {", "CheckpointsTest"),
    Bug("extra files of a checkpoint are accepted", "damaged checkpoints are found", CHECKPOINTS,
        'if (!said.files.contains(name)) damaged(name, "is not in its manifest");', ";", "CheckpointsTest"),
    Bug("a renamed checkpoint is taken for another step", "damaged checkpoints are found", CHECKPOINTS,
        "if (step && *step != said.manifest.step)", "if (false)", "CheckpointsTest"),
    Bug("a manifest's own checksum is not compared", "damaged checkpoints are found", MANIFEST,
        "if (text.size() < end || !text.ends_with(ending(std::string_view(text).substr(0, text.size() - end)))) {",
        "if (false) {", "CheckpointsTest"),
    Bug("surplus tensors of an adapter are ignored", "strict both ways", ADAPTER, "if (tensors.size() != expected) {",
        "if (false) {", "[Aa]dapter"),
    Bug("an adapter that says use_dora without m is accepted", "m is there where use_dora says so", PEFT_TENSORS,
        "if (config.use_dora != (magnitude != nullptr)) {", "if (false) {", "[Pp]eft"),
    Bug("ranks that disagree with the configuration are accepted", "strict both ways", PEFT_TENSORS,
        "if (a->size() != 2 || b->size() != 2 || (*a)[0] != rank || (*b)[1] != rank) {", "if (false) {", "[Pp]eft"),
    Bug("an adapter with not finite values is accepted", "not finite is never read", PEFT_TENSORS,
        "if (std::isfinite(value)) continue;", "continue;", "[Pp]eft"),
    Bug("a tensor in two spellings is accepted", "strict both ways", PEFT_TENSORS,
        "if (!tensors.emplace(*logical, std::move(tensor)).second) {",
        "if (!tensors.insert_or_assign(*logical, std::move(tensor)).second && false) {", "[Pp]eft"),
    Bug("unknown keys of an adapter are ignored", "unknown keys are refused", PEFT_CONFIG,
        "if (!known && !is_harmless(key, value)) {", "if (false) {", "[Pp]eft"),
    Bug("a header longer than its file is accepted", "safetensors", SAFETENSORS, "if (std::cmp_greater(length, longest)) {",
        "if (false) {", "[Ss]afetensors"),
    Bug("a header that is no object is accepted", "safetensors", HEADER, "if (json.empty() || json.front() != '{') {",
        "if (false) {", "[Ss]afetensors"),
    Bug("holes and overlaps are accepted", "safetensors", HEADER, "if (entry->begin != expected) {", "if (false) {",
        "[Ss]afetensors"),
    Bug("bytes after the last tensor are accepted", "safetensors", HEADER, "if (expected != data_bytes) {", "if (false) {",
        "[Ss]afetensors"),
    Bug("a tensor of another size than its shape is accepted", "safetensors", HEADER,
        "if (entry.end < entry.begin || entry.end - entry.begin != bytes) {", "if (false) {", "[Ss]afetensors"),
    Bug("an overflowing shape is accepted", "safetensors", HEADER,
        "} else if (product > std::numeric_limits<std::int64_t>::max() / size) {", "} else if (false) {", "[Ss]afetensors"),
    Bug("an unknown dtype is accepted", "safetensors", HEADER,
        "if (safetensors_element_bytes(entry.dtype) == 0)", "if (false)", "[Ss]afetensors"),
    Bug("negative and fractional sizes are accepted", "safetensors", HEADER,
        "if (!value.is_number_unsigned() || !std::in_range<std::int64_t>(value.get<std::uint64_t>())) {", "if (false) {",
        "[Ss]afetensors"),
    Bug("extra fields of a tensor are accepted", "safetensors", HEADER, "if (!value.is_object() || value.size() != 3)",
        "if (!value.is_object())", "[Ss]afetensors"),
    Bug("metadata that is no text is accepted", "safetensors", HEADER, "if (!text.is_string()) {", "if (false) {",
        "[Ss]afetensors"),
    Bug("a phase's time goes to the next phase", "phases add up and are told apart", "runtime/observe/phases.cc",
        "charge();\n  phase_ = phase;", "phase_ = phase;\n  charge();", "PhaseClock"),
    Bug("a phase that is entered again begins anew", "phases add up and are told apart", "runtime/observe/phases.cc",
        "seconds_[static_cast<std::size_t>(phase_)] += now - since_;",
        "seconds_[static_cast<std::size_t>(phase_)] = now - since_;", "PhaseClock"),
]

RANKS = [
    Bug("separate one-rank runs are accepted", "the launcher's ranks see each other", "runtime/comm/launcher.cc",
        "if (expected == mpi_ranks) return;", "return;", "launcher|Launcher|comm"),
    Bug("ranks with other inputs are accepted", "ranks agree", "runtime/comm/agreement.cc", "if (value == expected) continue;",
        "continue;", "agreement|Agreement|comm"),
    Bug("the root's sum only", "collectives", "runtime/comm/mpi_communicator.cc",
        "SHARDORA_CHECK(MPI_Bcast(values, count, type, 0, communicator_));", ";", "comm"),
]

MEMORY = [
    Bug("a micro-batch keeps the places of the one before", "micro-batches", BATCH, "batch_.places.clear();", "", "data|Batch"),
    Bug("the loads of the step before count", "data ranks are dealt alike at a resume", BATCH,
        "std::fill(loads_.begin(), loads_.end(), 0);", "", "data|Batch"),
    Bug("a step's plan keeps the counts of the one before", "one global batch", SAMPLER,
        "plan.target_count = plan.token_count = 0;", "", "Sampler|Golden"),
    Bug("a step packs into memory of its own", "a step allocates nothing", STEP,
        "packer_.start(plan_.sequences);",
        "packer_ = Packer(parts_.datasets, parts_.machine.grid.data.rank, parts_.machine.grid.data.size, parts_.packing); "
        "packer_.start(plan_.sequences);", "allocations"),
]

FIT = [
    Bug("one rank's need against the memory of all", "what cannot fit is refused", "runtime/memory/memory_plan.cc",
        "plan.growth_bytes() <= memory.shared.free_bytes / ranks_on_host;", "plan.growth_bytes() <= memory.shared.free_bytes;",
        "MemoryPlan"),
    Bug("the process's own limit is not looked at", "what cannot fit is refused", "runtime/memory/memory_plan.cc",
        "return host_fits(plan, memory, ranks_on_host) && plan.growth_bytes() <= memory.process.free_bytes;",
        "return host_fits(plan, memory, ranks_on_host);", "MemoryPlan"),
    Bug("memory is not compared at all", "what cannot fit is refused", "runtime/train/instance.cc",
        "require_fits(memory_, read_host_memory(), machine.ranks_on_host);", ";", "AModel"),
    Bug("limits of the groups above are not seen", "what cannot fit is refused", "runtime/memory/host_memory.cc",
        "for (fs::path group = path.relative_path(); !group.empty(); group = group.parent_path()) {",
        "for (fs::path group = path.relative_path(); false;) {", "HostMemory"),
    Bug("a tensor is held twice while it is read", "loading holds one tensor", "runtime/model/weight_source.cc",
        "if (tensor.dtype == DType::kF32) { backend.copy_from_host(device, {tensor.bytes.data(), DType::kF32, "
        "device.shape}); return backend.synchronize(); }", "", "loading"),
    Bug("the second layout of weights is not planned", "peak memory is known", "kernels/cpu/frozen_matrix.cc",
        "return shared ? layouts.forward->bytes() : layouts.forward->bytes() + layouts.backward->bytes();",
        "return layouts.forward->bytes();", "loading"),
    Bug("every rank warns", "one warning", "launch/main.cc",
        "if (first < world.size()) log.warn(world.broadcast(binding.warning, static_cast<int>(first)));",
        "if (!binding.warning.empty()) fmt::print(stderr, \"{}\\n\", binding.warning);", "MoreThreads"),
]

RECOMPUTE = [
    Bug("a layer's activations are not made again", "recomputation", DECODER,
        "if (activations.layers_share && layer + 1 < blocks_.size()) run_block(pass, batch, activations, layer);", "",
        "training|Recompute"),
    Bug("recomputed layers drop nothing", "recomputation", DECODER,
        "if (activations.layers_share && layer + 1 < blocks_.size()) run_block(pass, batch, activations, layer);",
        "if (activations.layers_share && layer + 1 < blocks_.size()) { PassContext plain{pass.backend, pass.parallel, "
        "pass.scratch, pass.positions, pass.places, pass.step, false}; run_block(plain, batch, activations, layer); }",
        "training|Recompute"),
    Bug("recomputed layers share h", "recomputation", DECODER, "slots[i].h = inputs[i];", "slots[i].h = inputs[recompute == Recompute::kFull ? 0 : i];",
        "training|Recompute"),
    Bug("the shared memory is that of the last layer", "recomputation", DECODER, "end = std::max(end, arena.mark());",
        "end = arena.mark();", "training|Recompute"),
    Bug("the attention's norm is made again with the MLP's weight", "recomputation", BLOCK,
        "s.x1 = scope.take({s.h.size(0), hidden_size}); rms_norm_forward(pass.backend, {.x = s.h, .weight = "
        "input_norm.weight,",
        "s.x1 = scope.take({s.h.size(0), hidden_size}); rms_norm_forward(pass.backend, {.x = s.h, .weight = "
        "post_norm.weight,", "training|Recompute"),
    Bug("what was before the gain passes for gate's output", "recomputation", BLOCK,
        "y = scope.take({tokens, linear.out_features}); linear.rebuild_output(pass, saved, y);", "y = saved.u;",
        "training|Recompute"),
]

PACKED, MERGE = "kernels/cpu/loops/packed_product.cc", "runtime/train/merge.cc"
PRODUCTS = [
    Bug("columns that are done already are added again", "narrow products", PACKED,
        "for (std::int64_t j = strip.done; j < strip.width; ++j)", "for (std::int64_t j = 0; j < strip.width; ++j)",
        "Linear"),
    Bug("the second block of k overwrites the first", "narrow products", PACKED,
        "op.accumulate || k0 > 0", "op.accumulate", "Linear"),
    Bug("weights of one layout share the first one's memory", "primitives shared", "kernels/cpu/onednn.cc",
        "made.weights.set_data_handle(weights_);", "if (!made.weights.get_data_handle()) made.weights.set_data_handle(weights_);",
        "OneDnn"),
    Bug("bfloat16 weights cut off instead of rounded", "stored weights", "kernels/cpu/bf16_matrix.cc",
        "bits_[i] = bf16_from_float(element_as_float(weight, i));",
        "bits_[i] = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(element_as_float(weight, i)) >> 16U);",
        "Weight"),
    Bug("a merge into weights that were not stored", "stored weights", MERGE,
        "round_as_stored(options_, shape, values);", ";", "StoredWeights"),
]

BUGS = PRODUCTS + SUMS + MEMORY + FIT + RECOMPUTE + ADAPTATION + DROPOUT + CUTS + BATCHES + OPTIMIZERS + FILES + RANKS
