/** minict stats: what containers use, again and again, or once. */
import { findCounters } from '../cgroup/usage.ts';
import { isTerminal } from '../host/exec-calls.ts';
import { type Context, contextFrom, requireRoot } from '../lifecycle/context.ts';
import { readPrograms, readStats, type Stats, sampleCpu } from '../lifecycle/stats.ts';
import { parseContainerName } from '../spec/name.ts';
import { getContainer, readInstance } from '../state/store.ts';
import { print, requireFormat, table } from './output.ts';
import type { Define } from './verbs.ts';

interface StatsOptions {
  readonly stream: boolean;
  readonly format: string;
}

/** For the CPU's time there have to be two looks, so far apart at least. */
const FIRST_MS = 20;
const NEXT_MS = 1000;
const CLEAR = '\x1b[H\x1b[J';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

function shown(bytes: number): string {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return `${Number((bytes / 1024 ** power).toPrecision(3))}${UNITS[power]}`;
}

const percent = (value: number) => `${value.toFixed(2)}%`;

function rowOf(stats: Stats): string[] {
  return [
    stats.name,
    percent(stats.cpuPercent),
    `${shown(stats.memoryBytes)} / ${shown(stats.memoryLimitBytes)}`,
    percent((stats.memoryBytes / stats.memoryLimitBytes) * 100),
    String(stats.pids),
    `${shown(stats.netReceivedBytes)} / ${shown(stats.netSentBytes)}`,
    `${shown(stats.blockReadBytes)} / ${shown(stats.blockWriteBytes)}`,
  ];
}

const HEADER = ['NAME', 'CPU %', 'MEM USAGE / LIMIT', 'MEM %', 'PIDS', 'NET I/O', 'BLOCK I/O'];

async function showStats(context: Context, names: readonly string[], options: StatsOptions): Promise<void> {
  const instance = readInstance(context.roots) ?? '';
  const counters = findCounters();
  const programs = () => readPrograms(context, counters, instance, names);
  const clear = options.stream && options.format === 'table' && isTerminal(1) ? CLEAR : '';
  let begin = performance.now();
  let spanMs = FIRST_MS;
  let running = programs();
  let samples = sampleCpu(counters, instance, running);
  for (;;) {
    const { stats, samples: now } = await readStats(context, counters, instance, running, samples, { begin, spanMs });
    samples = now;
    const text =
      options.format === 'json' ? `${JSON.stringify(stats)}\n` : clear + table([HEADER, ...stats.map(rowOf)]);
    if (!print(text) || !options.stream) return;
    begin = performance.now();
    spanMs = NEXT_MS;
    await Bun.sleep(NEXT_MS);
    running = programs();
  }
}

export const define: Define = (command, globals) => {
  command
    .argument('[name...]', 'those that run, if none is named')
    .option('--no-stream', 'once')
    .option('--format <format>', 'table or json', 'table')
    .action(async (names: string[], options: StatsOptions) => {
      requireRoot('stats');
      requireFormat(options.format);
      const context = contextFrom(globals());
      for (const name of names) await getContainer(context.roots, parseContainerName(name));
      await showStats(context, names, options);
    });
};
