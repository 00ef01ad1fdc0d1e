/**
 * Qdiscs, classes and filters of tc(8): what it shows, as it takes it. What it does not take again as shown stands behind a
 * `#`, and cannot be restored. Of an interface where anything differs all is made anew: there is no order of single changes.
 */
import * as z from 'zod/mini';
import type { Step } from '../step.ts';
import { withBursts } from './bursts.ts';
import { filterLines } from './filters.ts';
import type { Kind, Lines, NetnsPlace } from './kind.ts';
import { readIn, toolStep } from './kind.ts';

/** The others make classes by themselves. */
const CLASSFUL = ['htb', 'hfsc', 'drr', 'qfq'];
const INGRESS = ['ingress', 'clsact'];

const tbf = z.object({
  kind: z.literal('tbf'),
  handle: z.string(),
  dev: z.string(),
  options: z.object({ rate: z.number(), burst: z.number(), limit: z.number() }),
});

interface Qdisc {
  readonly kind: string;
  readonly handle: string;
  readonly dev: string;
  /** `root`, or `parent 1:10`. */
  readonly at: string;
  readonly options: string;
}

/** One of them may take several lines. */
function entries(text: string, word: string): string[] {
  return text.split(new RegExp(`^(?=${word} )`, 'm')).flatMap((entry) => entry.replace(/\s+/g, ' ').trim() || []);
}

/** The kernel's own (handle 0:) are not in it. */
function qdiscsOf(text: string): Qdisc[] {
  return entries(text, 'qdisc').flatMap((entry) => {
    const [, kind = '', handle = '0:', dev = '', at = '', options = ''] =
      /^qdisc (\S+) (\S+) (?:offloaded )?dev (\S+) (root|parent \S+)(?: refcnt \d+)?(?: (.*))?$/.exec(entry) ?? [];
    return handle === '0:' ? [] : [{ kind, handle, dev, at, options }];
  });
}

/** Without what is a state, and without units of packets, which tc prints and does not read. */
function optionsAsRead(options: string): string {
  return options
    .replace(/\bdirect_packets_stat \d+/, '')
    .replace(/-{4,}/, '')
    .replace(/\blimit (\d+)p\b/, 'limit $1')
    .replace(/\s+/g, ' ')
    .trim();
}

/** Numbers are exact in JSON, but not everything that tc shows is JSON: it is asked for its word on token buckets alone. */
function bucketsOf(json: string): Map<string, string> {
  try {
    const all = z.array(z.unknown()).parse(JSON.parse(json || '[]'));
    return new Map(
      all.flatMap((item) => {
        const { success, data } = tbf.safeParse(item);
        if (!success) return [];
        const { rate, burst, limit } = data.options;
        return [[`${data.dev} ${data.handle}`, `rate ${rate * 8}bit burst ${burst}b limit ${limit}b`] as const];
      }),
    );
  } catch {
    return new Map();
  }
}

function qdiscLine({ kind, handle, dev, at, options }: Qdisc, buckets: ReadonlyMap<string, string>): string {
  if (INGRESS.includes(kind)) return `qdisc add dev ${dev} ${kind}`;
  const words = buckets.get(`${dev} ${handle}`) ?? optionsAsRead(options);
  return `qdisc add dev ${dev} ${at} handle ${handle} ${kind} ${words}`.trim();
}

/** A class comes after the one that it is in. */
function parentsFirst(lines: readonly { parent: string; id: string; line: string }[]): string[] {
  const ids = new Set(lines.map(({ id }) => id));
  const depthOf = (parent: string, depth = 0): number => {
    const above = ids.has(parent) ? lines.find(({ id }) => id === parent) : undefined;
    return above === undefined || depth > lines.length ? depth : depthOf(above.parent, depth + 1);
  };
  return [...lines]
    .sort((a, b) => depthOf(a.parent) - depthOf(b.parent) || (a.line < b.line ? -1 : 1))
    .map(({ line }) => line);
}

async function classLines(place: NetnsPlace, dev: string): Promise<string[]> {
  const shown = entries(await readIn(place, ['tc', '-d', 'class', 'show', 'dev', dev]), 'class');
  const classes = shown.flatMap((entry) => {
    const [, kind = '', id = '', at = '', options = ''] =
      /^class (\S+) (\S+) (root|parent \S+)(?: leaf \S+)?(?: (.*))?$/.exec(entry) ?? [];
    if (!CLASSFUL.includes(kind)) return [];
    const parent = at === 'root' ? id.replace(/:.*/, ':') : at.replace('parent ', '');
    const words = options.replace(/b\/1\b/g, 'b').replace(/ mpu 0b| level \d+/g, '');
    return [{ parent, id, line: `class add dev ${dev} parent ${parent} classid ${id} ${kind} ${words}`.trim() }];
  });
  return parentsFirst(classes);
}

async function deviceLines(
  place: NetnsPlace,
  qdiscs: readonly Qdisc[],
  buckets: ReadonlyMap<string, string>,
): Promise<string[]> {
  const dev = qdiscs[0]?.dev ?? '';
  const classful = qdiscs.filter(({ kind }) => CLASSFUL.includes(kind));
  const hooks = qdiscs.flatMap(({ kind, handle }) => {
    if (kind === 'clsact') return ['ingress', 'egress'];
    return kind === 'ingress' ? ['ingress'] : [`parent ${handle}`];
  });
  const [classes, ...filters] = await Promise.all([
    classful.length === 0 ? Promise.resolve([]) : classLines(place, dev),
    ...hooks.map((hook) => filterLines(place, dev, hook)),
  ]);
  const line = (qdisc: Qdisc) => qdiscLine(qdisc, buckets);
  const [roots, leaves] = [qdiscs.filter(({ at }) => at === 'root'), qdiscs.filter(({ at }) => at !== 'root')];
  return [...roots.map(line), ...classes, ...leaves.map(line), ...filters.flat()];
}

const deviceOf = (line: string) => / dev (\S+)/.exec(line)?.[1] ?? '';

export const tc: Kind = {
  name: 'tc',
  read: async (place) => {
    const [text, json] = await Promise.all([
      readIn(place, ['tc', 'qdisc', 'show']),
      readIn(place, ['tc', '-raw', '-j', 'qdisc', 'show']),
    ]);
    const buckets = bucketsOf(json);
    const byDevice = Map.groupBy(qdiscsOf(text), ({ dev }) => dev);
    const inOrder = [...byDevice].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, qdiscs]) => qdiscs);
    return (await Promise.all(inOrder.map((qdiscs) => deviceLines(place, qdiscs, buckets)))).flat();
  },
  restore: (way, then, now) => {
    return [...new Set([...then, ...now].map(deviceOf))].flatMap((dev): Step[] => {
      const of = (lines: Lines) => lines.filter((line) => deviceOf(line) === dev);
      const [wanted, there] = [of(then), of(now)];
      if (wanted.join('\n') === there.join('\n')) return [];
      const hook = INGRESS.find((kind) => there.includes(`qdisc add dev ${dev} ${kind}`));
      const gone = [
        ...(there.some((line) => line.startsWith(`qdisc add dev ${dev} root`)) ? [`qdisc del dev ${dev} root`] : []),
        ...(hook === undefined ? [] : [`qdisc del dev ${dev} ${hook}`]),
      ];
      const made = wanted.filter((line) => !line.startsWith('#'));
      return [
        ...gone.map((line) => toolStep(way, 'tc', 'what is there, and all in it', line)),
        ...made.map((line) => toolStep(way, 'tc', 'as it was', withBursts(line, there, way.asked))),
      ];
    });
  },
};
