/** minict net impair: a link made worse, as containerlab's `tools netem` and `ethtool -K` do it. */

import { InvalidInputError } from '../errors.ts';
import { type Context, contextFrom, type GlobalOptions, requireRoot } from '../lifecycle/context.ts';
import { impair, impairSteps, type NicImpairment, readImpairments } from '../lifecycle/impair.ts';
import { shortly } from '../network/offload.ts';
import { runLines, script } from '../plan/shell.ts';
import {
  type Impairment,
  parseOffload,
  parsePercent,
  parseRate,
  parseTime,
  percentWord,
  rateWord,
  timeWord,
} from '../spec/impairment.ts';
import { parseNicOrAll, parseNicPlace } from '../spec/nic-place.ts';
import { print, requireFormat, table } from './output.ts';
import { reportNote } from './report.ts';
import type { VerbCommand } from './verb-command.ts';

interface Options {
  readonly delay?: string;
  readonly jitter?: string;
  readonly loss?: string;
  readonly rate?: string;
  readonly offload?: string;
  readonly clear?: boolean;
  readonly force?: boolean;
  readonly dryRun?: boolean;
  readonly format: string;
}

function impairmentFrom({ delay, jitter, loss, rate }: Options): Impairment | undefined {
  if ([delay, jitter, loss, rate].every((word) => word === undefined)) return undefined;
  const delayUs = delay === undefined ? 0 : parseTime('--delay', delay);
  const jitterUs = jitter === undefined ? 0 : parseTime('--jitter', jitter);
  if (jitterUs > 0 && delayUs === 0) {
    throw new InvalidInputError('cannot use --jitter without --delay: it is how much a delay varies', {
      hint: 'for example --delay 20ms --jitter 5ms',
    });
  }
  return {
    ...(delayUs === 0 ? {} : { delayUs }),
    ...(jitterUs === 0 ? {} : { jitterUs }),
    ...(loss === undefined ? {} : { lossPercent: parsePercent('--loss', loss) }),
    ...(rate === undefined ? {} : { rateBits: parseRate('--rate', rate) }),
  };
}

function row({ nic, delayUs, jitterUs, lossPercent, rateBits, offload, foreign }: NicImpairment): string[] {
  return [
    nic,
    delayUs === undefined ? '-' : timeWord(delayUs),
    jitterUs === undefined ? '-' : timeWord(jitterUs),
    lossPercent === undefined ? '-' : percentWord(lossPercent),
    rateBits === undefined ? '-' : rateWord(rateBits),
    shortly(offload).join(',') || '-',
    foreign ?? '-',
  ];
}

async function show(context: Context, place: string, format: string): Promise<void> {
  requireFormat(format);
  const rows = await readImpairments(context, parseNicOrAll(place));
  if (format === 'json') print(`${JSON.stringify(rows)}\n`);
  else print(table([['NIC', 'DELAY', 'JITTER', 'LOSS', 'RATE', 'OFFLOAD', 'OTHER QDISC'], ...rows.map(row)]));
}

async function change(context: Context, place: string, options: Options): Promise<void> {
  const impairment = impairmentFrom(options);
  const { offload, clear = false, force = false, dryRun = false } = options;
  if (clear && (impairment !== undefined || offload !== undefined)) {
    throw new InvalidInputError('cannot use --clear with what it would clear', { hint: 'first one, then the other' });
  }
  const request = {
    place: parseNicPlace(place),
    impairment,
    offload: offload === undefined ? new Map<string, boolean>() : parseOffload(offload),
    clear,
    force,
  };
  if (dryRun) {
    const title = `${clear ? 'clears' : 'impairs'} ${place}, as minict would`;
    print(script(title, 'stop', runLines(await impairSteps(context, request))));
    return;
  }
  const kept = await impair(context, request);
  if (kept !== undefined) reportNote(`${place} keeps the qdisc ${kept}, which minict did not make; --force removes it`);
  print(`${place}\n`);
}

export function defineImpair(group: VerbCommand, globals: () => GlobalOptions): void {
  group
    .command('impair <nic>')
    .alias('netem')
    .description(
      'delay, lose or slow down what leaves a NIC (NAME:eth0), all of it anew with each call; without an option, show',
    )
    .option('--delay <time>', '20ms: each packet waits; needs the kernel module sch_netem')
    .option('--jitter <time>', '5ms: the delay varies by that much; reorders packets')
    .option('--loss <percent>', '1%; by netem, or by a BPF filter where the kernel has none')
    .option('--rate <rate>', '10mbit; by tbf, or together with a delay by netem')
    .option('--offload <features>', "tso=off,gro=off,…: ethtool's features")
    .option('--clear', "the kernel's qdisc, and the features of before")
    .option('--force', 'also in place of a qdisc that minict did not make')
    .option('--dry-run', 'print what it would do as a shell script, and change nothing')
    .option('--format <format>', 'table or json', 'table')
    .action(async (place: string, options: Options) => {
      requireRoot('net impair');
      const context = contextFrom(globals());
      const { format, force, dryRun, ...changes } = options;
      if (Object.keys(changes).length > 0) return change(context, place, options);
      if (force || dryRun) {
        throw new InvalidInputError(`cannot use ${force ? '--force' : '--dry-run'} alone: nothing is to be changed`, {
          hint: 'minict net impair --help',
        });
      }
      return show(context, place, format);
    });
}
