/** Neighbouring steps become one process where a tool can take many: `ip -batch`, `mount --fstab`, `nft -f`. Pure. */
import { octalEscaped } from '../spec/octal.ts';
import type { Command, Step } from '../step.ts';

export interface Batch {
  readonly steps: readonly Step[];
  readonly argv: readonly string[];
  readonly stdin?: string;
}

function ipKey(command: Command): string | undefined {
  return command.kind === 'run' && command.argv[0] === 'ip' ? `ip ${command.netns ?? ''}` : undefined;
}

/** `nft COMMANDS`, in one word. */
function isNft(command: Command): command is Command & { kind: 'run' } {
  return command.kind === 'run' && command.argv[0] === 'nft' && command.argv.length === 2;
}

/** Lines for `ip -batch`; they are read by ip itself, so names in them must have no white space. */
function ipLines(steps: readonly Step[]): string {
  return steps.map(({ run }) => (run.kind === 'run' ? `${run.argv.slice(1).join(' ')}\n` : '')).join('');
}

/** A namespace that unshare(1) makes: `unshare OPTION… hostname NAME`, or `unshare OPTION… true`. */
interface Unshare {
  readonly options: readonly string[];
  readonly hostname: string | undefined;
  /** File of the mount namespace: mounts that follow in it can be made by the same process. */
  readonly mntns: string | undefined;
}

function unshareOf(command: Command): Unshare | undefined {
  if (command.kind !== 'run' || command.argv[0] !== 'unshare') return undefined;
  const hostname = command.argv.at(-2) === 'hostname' ? command.argv.at(-1) : undefined;
  const options = command.argv.slice(1, hostname === undefined ? -1 : -2);
  return { options, hostname, mntns: options.find((word) => word.startsWith('--mount='))?.slice('--mount='.length) };
}

function fstab(steps: readonly Step[]): string {
  return steps
    .map(({ run: m }) =>
      m.kind === 'mount' ? `${[m.source, m.target, m.fstype, m.options].map(octalEscaped).join(' ')} 0 0\n` : '',
    )
    .join('');
}

function umountWords(command: Command & { kind: 'umount' }): string[] {
  return [...(command.lazy ? ['--lazy'] : []), ...command.targets];
}

/** nsenter(1) begins in the namespace's root. */
const IN_CWD = 'cd "$0" && exec "$@"';

/** A command as one argv, namespaces entered by the host's own tools. */
export function commandArgv(command: Command & { kind: 'run' | 'mount' | 'umount' }): string[] {
  switch (command.kind) {
    case 'run': {
      if (command.mntns !== undefined) return ['nsenter', `--mount=${command.mntns}`, ...command.argv];
      if (command.netns === undefined) return [...command.argv];
      const [tool, ...rest] = command.argv;
      return tool === 'ip'
        ? ['ip', '-n', command.netns, ...rest]
        : ['ip', 'netns', 'exec', command.netns, ...command.argv];
    }
    case 'mount': {
      const type = command.fstype === 'none' ? [] : ['-t', command.fstype];
      const enter = command.mntns === undefined ? [] : ['nsenter', `--mount=${command.mntns}`];
      const mount = ['mount', ...type, '-o', command.options, command.source, command.target];
      return [...enter, ...(command.cwd === undefined ? mount : ['sh', '-c', IN_CWD, command.cwd, ...mount])];
    }
    case 'umount': {
      const enter = command.mntns === undefined ? [] : ['nsenter', `--mount=${command.mntns}`];
      return [...enter, 'umount', ...umountWords(command)];
    }
  }
}

/** Sets the host name as hostname(1) does, and mounts what stdin says, while what is not wanted is unmounted. */
function insideArgv(
  hostname: string | undefined,
  cwd: string | undefined,
  trim: (Command & { kind: 'umount' }) | undefined,
): string[] {
  const mount = ['mount', '--fstab', '/dev/stdin', '--all'];
  if (hostname === undefined && cwd === undefined && trim === undefined) return mount;
  const script = [
    'set -e',
    ...(cwd === undefined ? [] : ['cd "$1"', 'shift']),
    ...(hostname === undefined ? [] : ['echo "$1" >/proc/sys/kernel/hostname', 'shift']),
    ...(trim === undefined ? [`exec ${mount.join(' ')}`] : [`umount "$@" & ${mount.join(' ')}`, 'wait "$!"']),
  ].join('; ');
  return [
    'sh',
    '-c',
    script,
    'sh',
    ...(cwd === undefined ? [] : [cwd]),
    ...(hostname === undefined ? [] : [hostname]),
    ...(trim ? umountWords(trim) : []),
  ];
}

/** One folder serves them all: just the overlay has relative paths. */
function cwdOf(steps: readonly Step[]): string | undefined {
  return steps.map(({ run }) => (run.kind === 'mount' ? run.cwd : undefined)).find((cwd) => cwd !== undefined);
}

/** Splits off the longest run of steps, from the front, that one process can carry out. */
export function nextBatch(steps: readonly Step[]): { batch: Batch; rest: readonly Step[] } {
  const first = steps[0];
  if (first === undefined) throw new Error('nextBatch of no steps');
  const take = (count: number) => ({ taken: steps.slice(0, count), rest: steps.slice(count) });
  const countWhile = (from: number, test: (command: Command) => boolean) => {
    let end = from;
    while (end < steps.length && test((steps[end] as Step).run)) end += 1;
    return end;
  };

  const key = ipKey(first.run);
  if (key !== undefined && first.run.kind === 'run') {
    const { taken, rest } = take(countWhile(0, (c) => ipKey(c) === key));
    const enter = first.run.netns === undefined ? [] : ['-n', first.run.netns];
    return { batch: { steps: taken, argv: ['ip', ...enter, '-batch', '-'], stdin: ipLines(taken) }, rest };
  }

  if (isNft(first.run)) {
    const { taken, rest } = take(countWhile(0, isNft));
    // One transaction: all of it or nothing.
    const stdin = taken.map(({ run }) => (isNft(run) ? `${run.argv[1]}\n` : '')).join('');
    return { batch: { steps: taken, argv: ['nft', '-f', '-'], stdin }, rest };
  }

  const made = unshareOf(first.run);
  if (made !== undefined) {
    // A UTS and a mount namespace one after the other are made by one process.
    const next = made.mntns === undefined ? steps[1] && unshareOf(steps[1].run) : undefined;
    const all = next?.mntns === undefined ? [made] : [made, next];
    const mntns = all.at(-1)?.mntns;
    const mounts = countWhile(all.length, (c) => c.kind === 'mount' && c.mntns === mntns);
    const unmounts = steps[mounts]?.run;
    const trim = unmounts?.kind === 'umount' && unmounts.mntns === mntns ? unmounts : undefined;
    if (mounts > 1) {
      const { taken, rest } = take(trim === undefined ? mounts : mounts + 1);
      const argv = [
        'unshare',
        ...all.flatMap(({ options }) => options),
        ...insideArgv(made.hostname, cwdOf(taken), trim),
      ];
      return { batch: { steps: taken, argv, stdin: fstab(taken.slice(all.length)) }, rest };
    }
  }

  if (first.run.kind === 'run' || first.run.kind === 'mount' || first.run.kind === 'umount') {
    return { batch: { steps: [first], argv: commandArgv(first.run) }, rest: steps.slice(1) };
  }
  return { batch: { steps: [first], argv: [] }, rest: steps.slice(1) };
}

/** The step at which a batch stopped, from what the tool says; the last one where it does not say. */
export function failingStep(batch: Batch, stderr: string): Step {
  const last = batch.steps.at(-1) as Step;
  const line = /Command failed -:(\d+)/.exec(stderr)?.[1];
  if (line !== undefined) return batch.steps[Number(line) - 1] ?? last;
  if (stderr.startsWith('unshare:')) {
    return (
      batch.steps.find(({ claims }) => claims?.some(({ name }) => stderr.includes(name))) ?? batch.steps[0] ?? last
    );
  }
  return batch.steps.find(({ run }) => run.kind === 'mount' && stderr.includes(`${run.target}: `)) ?? last;
}
