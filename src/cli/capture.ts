/** minict capture: packets of several NICs in one pcapng, with tcpdump's and dumpcap's words. */
import { InvalidInputError } from '../errors.ts';
import { isTerminal } from '../host/exec-calls.ts';
import { capture } from '../lifecycle/capture.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { parseNicOrAll } from '../spec/nic-place.ts';
import { reportNote, reportWarning } from './report.ts';
import type { Define } from './verbs.ts';

interface Options {
  readonly write: string;
  readonly count?: string;
  readonly filter?: string;
  readonly snapshotLength?: string;
  readonly duration?: string;
}

const MAX_PACKETS = 1e9;
const MAX_SNAP_BYTES = 262144;

function parseCount(option: string, text: string, max: number): number {
  const number = /^[1-9]\d*$/.test(text) ? Number(text) : Number.NaN;
  if (number <= max) return number;
  throw new InvalidInputError(`cannot use ${option} ${JSON.stringify(text)}: no number from 1 to ${max}`, {
    hint: `for example ${option} 100`,
  });
}

const MAX_SECONDS = 2e6;

function parseDuration(text: string): number {
  const seconds = /^\d+(\.\d+)?s?$/.test(text) ? Number.parseFloat(text) : Number.NaN;
  if (seconds > 0 && seconds < MAX_SECONDS) return seconds * 1000;
  throw new InvalidInputError(`cannot use --duration ${JSON.stringify(text)}: no number of seconds`, {
    hint: 'for example --duration 10',
  });
}

function checkFile(file: string): string {
  if (file === '')
    throw new InvalidInputError("cannot use -w '': no path", { hint: '-w lab.pcapng, or -w - for stdout' });
  if (file !== '-' || !isTerminal(1)) return file;
  throw new InvalidInputError('cannot write a capture to a terminal', {
    hint: 'minict capture … -w - | wireshark -k -i -',
  });
}

/** Resolves at the first INT, TERM or HUP; the next one has its usual effect. */
function untilSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve());
  });
}

export const define: Define = (command, globals) => {
  command
    .argument('<nic...>', 'NAME:NIC, or NAME for all its NICs but lo')
    .requiredOption(
      '-w, --write <file>',
      'a pcapng, with an interface for each NIC; - is stdout, for wireshark -k -i -',
    )
    .option('-c, --count <packets>', 'end after so many')
    .option('-f, --filter <expression>', "pcap-filter(7): 'icmp or tcp port 80'")
    .option('-s, --snapshot-length <bytes>', 'no more of each packet; fewer are lost')
    .option('--duration <seconds>', 'end after that time; else by Ctrl-C or TERM')
    .action(async (words: string[], { write, count, filter, snapshotLength, duration }: Options) => {
      requireRoot('capture');
      const request = {
        places: words.map(parseNicOrAll),
        file: checkFile(write),
        count: count === undefined ? undefined : parseCount('-c', count, MAX_PACKETS),
        snapBytes: snapshotLength === undefined ? undefined : parseCount('-s', snapshotLength, MAX_SNAP_BYTES),
        filter,
        durationMs: duration === undefined ? undefined : parseDuration(duration),
      };
      const { packets, dropped, late } = await capture(contextFrom(globals()), request, untilSignal(), {
        onReady: (names) => reportNote(`capturing ${names.join(', ')}`),
        onGone: (name, cause) => reportNote(`${name} has ended: ${cause}`),
      });
      reportNote(`${packets} packets`);
      if (dropped > 0)
        reportWarning(`${dropped} packets were too many for tcpdump`, 'a --filter, or -s 128, takes less');
      if (late > 0) reportWarning(`${late} packets are not in order of time`, `reordercap ${write} IN-ORDER`);
    });
};
