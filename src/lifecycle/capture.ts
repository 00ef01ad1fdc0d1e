/** A capture on NICs of containers, into one pcapng. Without a lock: whoever has one may be whom the capture is about. */
import { closeSync, openSync } from 'node:fs';
import { ConflictError, HostError, NotFoundError, systemCause } from '../errors.ts';
import { readNamespaceLinks } from '../host/links.ts';
import { missingTool } from '../host/tool.ts';
import { sayCommand } from '../host/verbose.ts';
import { interfaceDescription, PcapReader, sectionHeader } from '../process/pcapng.ts';
import { type Choice, requireFilter, type Source, Tcpdump, tcpdumpArgv } from '../process/tcpdump.ts';
import { getContainer } from '../state/store.ts';
import type { Context } from './context.ts';
import { requireNamespace } from './namespace.ts';
import { PacketMerge } from './packet-merge.ts';

export interface CaptureRequest extends Choice {
  readonly places: readonly { readonly container: string; readonly nic: string | undefined }[];
  /** `-` for stdout. */
  readonly file: string;
  readonly count: number | undefined;
  readonly durationMs: number | undefined;
}

async function sourcesOf(context: Context, { container, nic }: CaptureRequest['places'][number]): Promise<Source[]> {
  const what = `capture ${nic === undefined ? container : `${container}:${nic}`}`;
  await getContainer(context.roots, container);
  const namespace = requireNamespace(context, container, what);
  const links = readNamespaceLinks(namespace.netns);
  const names = links.map(({ name }) => name);
  if (nic !== undefined && !names.includes(nic)) {
    throw new NotFoundError(`cannot ${what}: ${container} has no interface ${nic}`, {
      hint: `it has ${names.join(', ')}`,
    });
  }
  const wanted = links.filter(({ name }) => (nic === undefined ? name !== 'lo' : name === nic));
  if (wanted.length === 0) {
    throw new NotFoundError(`cannot ${what}: it has no interface but lo`, { hint: `${container}:lo captures that` });
  }
  const up = wanted.filter(({ isUp }) => isUp);
  if (up.length === 0) {
    const down = wanted.map(({ name }) => name);
    throw new ConflictError(`cannot ${what}: ${down.join(', ')} ${down.length === 1 ? 'is' : 'are'} down`, {
      hint: `ip -n ${container} link set dev ${down[0]} up`,
    });
  }
  return up.map(({ name }) => ({ name: `${container}:${name}`, netnsFile: namespace.file, nic: name }));
}

/** What is known beforehand. Throws NotFoundError, ConflictError, InvalidInputError, HostError. */
async function prepare(context: Context, { places, filter }: CaptureRequest): Promise<Source[]> {
  const missing = ['tcpdump', 'nsenter', 'setsid', 'setpriv'].find((tool) => Bun.which(tool) === null);
  if (missing !== undefined) throw missingTool(missing);
  const found = new Map<string, Source>();
  for (const place of places) for (const source of await sourcesOf(context, place)) found.set(source.name, source);
  if (filter !== undefined) await requireFilter(filter);
  return [...found.values()];
}

function openOutput(file: string): number {
  if (file === '-') return 1;
  try {
    return openSync(file, 'w');
  } catch (error) {
    throw new HostError(`cannot write ${file}: ${systemCause(error)}`, {
      hint: '-w FILE, in a directory that is there; -w - is stdout',
      cause: error,
    });
  }
}

export interface CaptureEvents {
  /** All are captured from here on. */
  readonly onReady: (names: readonly string[]) => void;
  /** One has ended by itself. */
  readonly onGone: (name: string, cause: string) => void;
}

export interface Captured {
  readonly packets: number;
  /** By the kernel, for want of time. */
  readonly dropped: number;
  /** Not in order. */
  readonly late: number;
}

/** LINKTYPE_ETHERNET, of one that was gone before it said so. */
const ETHERNET = { type: 1, snapBytes: 262144 };

const WRITE_EACH_MS = 100;
/** What a NIC had before the end is read by its tcpdump before that is told to end. */
const READ_ON_MS = 100;

/** All that a tcpdump says, to its end. */
async function read(tcpdump: Tcpdump, reader: PcapReader, merge: PacketMerge, onFull: () => void): Promise<void> {
  for await (const piece of tcpdump.output) {
    merge.add(reader.read(piece));
    if (merge.isFull) onFull();
  }
}

/** Until `stop` resolves, the count or the time is reached, or all NICs are gone. Throws HostError. */
export async function capture(
  context: Context,
  request: CaptureRequest,
  stop: Promise<void>,
  events: CaptureEvents,
): Promise<Captured> {
  const sources = await prepare(context, request);
  const fd = openOutput(request.file);
  const merge = new PacketMerge(fd, request.count);
  const tcpdumps = sources.map((source) => {
    const argv = tcpdumpArgv(source, request);
    if (context.verbose) sayCommand(argv);
    return new Tcpdump(source, argv);
  });
  const full = Promise.withResolvers<void>();
  const readers = sources.map((_, index) => new PcapReader(index));
  const reading = Promise.all(
    tcpdumps.map((tcpdump, index) => read(tcpdump, readers[index] as PcapReader, merge, full.resolve)),
  );
  let hasEnded = false;
  const end = () => {
    hasEnded = true;
  };
  reading.then(end, end);
  let writing: ReturnType<typeof setInterval> | undefined;
  try {
    await Promise.all(tcpdumps.map((tcpdump) => tcpdump.ready()));
    // It has said of which kind the interface is before it says that it listens, but perhaps not all of that was read.
    const isKnown = () => readers.every(({ link }) => link !== undefined);
    while (!isKnown() && !hasEnded) await Bun.sleep(1);
    const interfaces = sources.map(({ name }, index) => {
      return interfaceDescription(name, readers[index]?.link ?? ETHERNET, request.filter);
    });
    merge.writeBytes(Buffer.concat([sectionHeader(), ...interfaces]));
    const failed = Promise.withResolvers<void>();
    writing = setInterval(() => {
      try {
        merge.writeDue();
        if (merge.isClosed) full.resolve();
      } catch (error) {
        failed.reject(error);
      }
    }, WRITE_EACH_MS);
    events.onReady(sources.map(({ name }) => name));
    for (const tcpdump of tcpdumps) {
      void tcpdump.failure().then((cause) => {
        if (cause !== undefined) events.onGone(tcpdump.source.name, cause);
      });
    }
    const time = request.durationMs === undefined ? [] : [Bun.sleep(request.durationMs)];
    await Promise.race([stop, full.promise, failed.promise, reading, ...time]);
    await Bun.sleep(READ_ON_MS);
    for (const tcpdump of tcpdumps) tcpdump.end();
    await reading;
    merge.finish();
    await Promise.all(tcpdumps.map((tcpdump) => tcpdump.failure()));
    const dropped = tcpdumps.reduce((sum, tcpdump) => sum + tcpdump.dropped(), 0);
    return { packets: merge.count, dropped, late: merge.late };
  } finally {
    clearInterval(writing);
    for (const tcpdump of tcpdumps) tcpdump.end();
    await Promise.all(tcpdumps.map((tcpdump) => tcpdump.failure()));
    if (fd !== 1) closeSync(fd);
  }
}
