/** Neighbouring steps become one process where a tool can take many: `ip -batch`, `mount --fstab`, `nft -f`. Pure. */
import { mountCalls } from '../host/mounts.ts';
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

/** Mounts what stdin says. */
function mountArgv(cwd: string | undefined): string[] {
  const mount = ['mount', '--fstab', '/dev/stdin', '--all'];
  return cwd === undefined ? mount : ['sh', '-c', IN_CWD, cwd, ...mount];
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

  const { run } = first;
  if (run.kind === 'mount' && run.mntns !== undefined && mountCalls(run) === undefined) {
    const { taken, rest } = take(countWhile(0, (c) => c.kind === 'mount' && c.mntns === run.mntns));
    const argv = ['nsenter', `--mount=${run.mntns}`, ...mountArgv(cwdOf(taken))];
    if (taken.length > 1) return { batch: { steps: taken, argv, stdin: fstab(taken) }, rest };
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
  return batch.steps.find(({ run }) => run.kind === 'mount' && stderr.includes(`${run.target}: `)) ?? last;
}
