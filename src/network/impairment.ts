/**
 * A NIC's impairment as qdiscs and filters of tc(8), on what leaves it. Its own carry a handle and a preference that nobody
 * else has; the kernel is where they are written down. Pure but for the readers.
 *
 * netem has delay, jitter and loss. A rate alone is a token bucket's (tbf), which is exact to the byte. Loss alone works on a
 * kernel without netem too: a classic BPF program that throws a die, at the egress hook.
 */
import * as z from 'zod/mini';
import { firstLine, HostError } from '../errors.ts';
import { missingTool } from '../host/tool.ts';
import { readToolOutput } from '../host/tool-output.ts';
import { type Impairment, percentWord, rateWord, timeWord } from '../spec/impairment.ts';
import type { Step } from '../step.ts';

/** "MC"; tc(8) itself hands out 8001: and on, people take 1:, 10:. */
const HANDLE = '4d43:';
const PREFERENCE = 0x4d43;

const FRAME_OVERHEAD_BYTES = 18;
const QUEUE_US = 50_000;
/** Timers are late by some milliseconds on a busy host: what may leave at once has to last for that long. */
const BURST_US = 4000;
/** Packets that netem holds are counted, whatever their size; these are small, so that no mix of sizes is cut off. */
const SMALL_PACKET_BYTES = 256;
const FAST_BITS = 10e9;

const qdisc = z.object({
  kind: z.string(),
  handle: z.string(),
  root: z.optional(z.boolean()),
  options: z.optional(
    z.object({
      rate: z.optional(z.union([z.number(), z.object({ rate: z.number() })])),
      delay: z.optional(z.object({ delay: z.number(), jitter: z.number() })),
      'loss-random': z.optional(z.object({ loss: z.number() })),
    }),
  ),
});
type Qdisc = z.infer<typeof qdisc>;

const instruction = z.object({ code: z.number(), jt: z.number(), jf: z.number(), k: z.number() });
const filter = z.object({
  pref: z.optional(z.number()),
  kind: z.optional(z.string()),
  options: z.optional(z.object({ bytecode: z.optional(z.object({ insns: z.array(instruction) })) })),
});
type Filter = z.infer<typeof filter>;

export interface TcFacts {
  readonly root: Qdisc | undefined;
  readonly hasClsact: boolean;
  readonly egress: readonly Filter[];
  readonly ingress: readonly Filter[];
}

async function readTc<T>(netns: string, words: readonly string[], item: z.ZodMiniType<T>): Promise<T[]> {
  const output = await readToolOutput(['tc', '-n', netns, '-j', ...words]);
  if (output === undefined) throw missingTool('tc');
  const parsed = z.array(item).safeParse(output.exitCode === 0 ? JSON.parse(output.stdout || '[]') : undefined);
  if (parsed.success) return parsed.data;
  throw new HostError(`cannot read ${words.join(' ')} of ${netns}: ${firstLine(output.stderr) || 'not understood'}`);
}

/** Throws HostError. */
export async function readTcFacts(netns: string, nic: string): Promise<TcFacts> {
  const qdiscs = await readTc(netns, ['qdisc', 'show', 'dev', nic], qdisc);
  const hasClsact = qdiscs.some(({ kind }) => kind === 'clsact');
  const filters = (hook: string) =>
    hasClsact ? readTc(netns, ['filter', 'show', 'dev', nic, hook], filter) : Promise.resolve([]);
  const [egress, ingress] = await Promise.all([filters('egress'), filters('ingress')]);
  return { root: qdiscs.find(({ root }) => root), hasClsact, egress, ingress };
}

/** Asked of a namespace that ends with the question; it loads the module where there is one. */
export async function hasNetem(): Promise<boolean> {
  const probe = await readToolOutput(['unshare', '--net', 'tc', 'qdisc', 'add', 'dev', 'lo', 'root', 'netem']);
  return probe?.exitCode === 0;
}

export function noNetem(what: string): HostError {
  return new HostError(`cannot ${what}: this kernel has no netem (Specified qdisc kind is unknown)`, {
    hint: 'needs the module sch_netem, CONFIG_NET_SCH_NETEM; --rate and --loss work without',
  });
}

/** Whether the impairment takes a qdisc, and not a filter alone. */
export function takesRoot({ delayUs = 0, lossPercent = 0, rateBits }: Impairment, netem: boolean): boolean {
  return delayUs > 0 || rateBits !== undefined || (lossPercent > 0 && netem);
}

/** A root qdisc that is neither the kernel's own nor minict's. */
export function foreignRoot({ root }: TcFacts): Qdisc | undefined {
  return root === undefined || root.handle === '0:' || root.handle === HANDLE ? undefined : root;
}

/** What such a qdisc loses by its nature, in percent; 0 of one that only holds packets back. */
export function foreignLoss(facts: TcFacts): number {
  const foreign = foreignRoot(facts);
  if (foreign?.kind === 'blackhole') return 100;
  return (foreign?.options?.['loss-random']?.loss ?? 0) * 100;
}

function isLossFilter({ kind, pref, options }: Filter): boolean {
  return kind === 'bpf' && pref === PREFERENCE && options?.bytecode !== undefined;
}

/** What the kernel has of it. */
export function impairmentOf({ root, egress }: TcFacts): Impairment {
  const threshold = egress.find(isLossFilter)?.options?.bytecode?.insns[1]?.k;
  const filtered = threshold === undefined ? {} : { lossPercent: ((threshold + 1) / 2 ** 32) * 100 };
  if (root?.handle !== HANDLE) return filtered;
  const { rate, delay, 'loss-random': loss } = root.options ?? {};
  const bytes = typeof rate === 'object' ? rate.rate : rate;
  const us = (seconds: number) => Math.round(seconds * 1e6);
  return {
    ...filtered,
    ...(delay === undefined ? {} : { delayUs: us(delay.delay) }),
    ...(delay === undefined || delay.jitter === 0 ? {} : { jitterUs: us(delay.jitter) }),
    ...(loss === undefined ? {} : { lossPercent: loss.loss * 100 }),
    ...(bytes === undefined ? {} : { rateBits: bytes * 8 }),
  };
}

function tbfWords(rateBits: number, mtuBytes: number): string[] {
  const frame = mtuBytes + FRAME_OVERHEAD_BYTES;
  const bytesIn = (us: number) => Math.ceil((rateBits / 8e6) * us);
  const burst = Math.max(2 * frame, bytesIn(BURST_US));
  const latencyUs = Math.max(QUEUE_US, Math.ceil((4 * frame * 8e6) / rateBits));
  return ['tbf', 'rate', rateWord(rateBits), 'burst', String(burst), 'latency', timeWord(latencyUs)];
}

function netemWords({ delayUs = 0, jitterUs = 0, lossPercent = 0, rateBits }: Impairment, mtuBytes: number): string[] {
  const bytesIn = (us: number) => ((rateBits ?? FAST_BITS) / 8e6) * us;
  const delayed = delayUs + jitterUs;
  const limit =
    rateBits === undefined
      ? Math.max(1000, Math.ceil(bytesIn(delayed) / mtuBytes))
      : Math.max(32, Math.ceil(bytesIn(delayed) / SMALL_PACKET_BYTES + bytesIn(QUEUE_US) / mtuBytes));
  return [
    ...['netem', 'limit', String(limit)],
    ...(delayUs === 0 ? [] : ['delay', timeWord(delayUs), ...(jitterUs === 0 ? [] : [timeWord(jitterUs)])]),
    ...(lossPercent === 0 ? [] : ['loss', percentWord(lossPercent)]),
    ...(rateBits === undefined ? [] : ['rate', rateWord(rateBits)]),
  ];
}

/**
 * Drops by chance: the packet is taken (TC_ACT_STOLEN, 4) and its sender told that it went out, as netem does; a firewall's
 * drop would be an error to it. What stays goes to the next filter (TC_ACT_UNSPEC). Threshold: one in 2^32 for each step.
 */
function lossBytecode(percent: number): string {
  const threshold = Math.max(0, Math.round((percent / 100) * 2 ** 32) - 1);
  const random = 0xfffff000 + 56; // SKF_AD_OFF + SKF_AD_RANDOM
  return `4,32 0 0 ${random},37 1 0 ${threshold},6 0 0 4,6 0 0 4294967295`;
}

export interface TcPlan {
  readonly netns: string;
  readonly nic: string;
  readonly mtuBytes: number;
  readonly facts: TcFacts;
}

function tcStep({ netns }: TcPlan, why: string, ...words: string[]): Step {
  return { id: words.join(' '), why, run: { kind: 'run', argv: ['tc', '-n', netns, ...words] } };
}

/** The kernel's default is there again; what is another's stays. */
export function planClear(plan: TcPlan): Step[] {
  const { nic, facts } = plan;
  const own = facts.egress.filter(isLossFilter);
  const othersFilters = facts.ingress.length + facts.egress.filter(({ pref }) => pref !== PREFERENCE).length;
  // A clsact that has nothing in it does nothing.
  const hook =
    othersFilters === 0
      ? tcStep(plan, 'no loss any more', 'qdisc', 'del', 'dev', nic, 'clsact')
      : tcStep(plan, 'no loss any more', 'filter', 'del', 'dev', nic, 'egress', 'pref', String(PREFERENCE));
  return [
    ...(facts.root?.handle === HANDLE
      ? [tcStep(plan, "the kernel's own qdisc", 'qdisc', 'del', 'dev', nic, 'root')]
      : []),
    ...(own.length > 0 ? [hook] : []),
  ];
}

/** In place of any impairment before. `netem`: whether the kernel has it. */
export function planImpairment(plan: TcPlan, impairment: Impairment, netem: boolean): Step[] {
  const { nic, facts, mtuBytes } = plan;
  const { delayUs = 0, lossPercent = 0, rateBits } = impairment;
  const byNetem = delayUs > 0 || (lossPercent > 0 && netem);
  const byFilter = lossPercent > 0 && !byNetem;
  const words = byNetem ? netemWords(impairment, mtuBytes) : rateBits === undefined ? [] : tbfWords(rateBits, mtuBytes);
  // One of another kind cannot be replaced under the same handle.
  const isOther = facts.root?.handle === HANDLE && facts.root.kind !== words[0];
  const isInTheWay = isOther || (words.length > 0 && foreignRoot(facts) !== undefined);
  const root = [
    ...(isInTheWay ? [tcStep(plan, 'the qdisc of before', 'qdisc', 'del', 'dev', nic, 'root')] : []),
    ...(words.length > 0
      ? [tcStep(plan, 'on what leaves the NIC', 'qdisc', 'replace', 'dev', nic, 'root', 'handle', HANDLE, ...words)]
      : []),
  ];
  if (!byFilter) {
    return [...planClear({ ...plan, facts: { ...facts, root: undefined } }), ...root];
  }
  const rule = ['pref', String(PREFERENCE), 'handle', '1', 'bpf', 'da', 'bytecode', lossBytecode(lossPercent)];
  return [
    ...root,
    ...(facts.hasClsact ? [] : [tcStep(plan, 'a hook for filters', 'qdisc', 'add', 'dev', nic, 'clsact')]),
    tcStep(plan, `loses ${percentWord(lossPercent)}`, 'filter', 'replace', 'dev', nic, 'egress', ...rule),
  ];
}
