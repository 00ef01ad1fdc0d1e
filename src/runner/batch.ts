/** Neighbouring steps become one process where a tool can take many: `ip -batch`, `mount --fstab`. Pure. */
import { basename } from 'node:path';
import { CARRIER_PID, type Command, type Step } from '../step.ts';

export interface Batch {
  readonly steps: readonly Step[];
  readonly argv: readonly string[];
  readonly stdin?: string;
}

function ipKey(command: Command): string | undefined {
  return command.kind === 'run' && command.argv[0] === 'ip' ? `ip ${command.netns ?? ''}` : undefined;
}

/** Lines for `ip -batch`; they are read by ip itself, so names in them must have no white space. */
function ipLines(steps: readonly Step[]): string {
  const words = ({ run }: Step) => (run.kind === 'run' ? run.argv.slice(1) : []);
  const filled = (word: string) => (word === CARRIER_PID ? String(process.pid) : word);
  return steps.map((step) => `${words(step).map(filled).join(' ')}\n`).join('');
}

/** `unshare --net=FILE … hostname NAME`: the `ip` steps that follow inside can be done by the same process. */
function createdNetNamespace(command: Command): string | undefined {
  if (command.kind !== 'run' || command.argv[0] !== 'unshare' || command.argv.at(-2) !== 'hostname') return undefined;
  const file = command.argv.find((word) => word.startsWith('--net='));
  return file === undefined ? undefined : basename(file);
}

/** As hostname(1) does, without a process for it. */
const HOSTNAME_AND_IP = 'echo "$0" >/proc/sys/kernel/hostname && exec ip -batch -';

/** `unshare --mount=FILE … true`: the mounts that follow in that namespace can be made by the same process. */
function createdMountNamespace(command: Command): string | undefined {
  if (command.kind !== 'run' || command.argv[0] !== 'unshare' || command.argv.at(-1) !== 'true') return undefined;
  return command.argv.find((word) => word.startsWith('--mount='))?.slice('--mount='.length);
}

/** fstab(5) writes white space and backslashes in octal. */
function fstabField(text: string): string {
  return text.replace(/[\s\\#]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`);
}

function fstab(steps: readonly Step[]): string {
  return steps
    .map(({ run: m }) =>
      m.kind === 'mount' ? `${[m.source, m.target, m.fstype, m.options].map(fstabField).join(' ')} 0 0\n` : '',
    )
    .join('');
}

function umountWords(command: Command & { kind: 'umount' }): string[] {
  return [...(command.lazy ? ['--lazy'] : []), ...command.targets];
}

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
      return [...enter, 'mount', ...type, '-o', command.options, command.source, command.target];
    }
    case 'umount': {
      const enter = command.mntns === undefined ? [] : ['nsenter', `--mount=${command.mntns}`];
      return [...enter, 'umount', ...umountWords(command)];
    }
  }
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

  const netNamespace = createdNetNamespace(first.run);
  if (netNamespace !== undefined && first.run.kind === 'run') {
    const { taken, rest } = take(countWhile(1, (c) => ipKey(c) === `ip ${netNamespace}`));
    if (taken.length > 1) {
      const argv = [...first.run.argv.slice(0, -2), 'sh', '-c', HOSTNAME_AND_IP, ...first.run.argv.slice(-1)];
      return { batch: { steps: taken, argv, stdin: ipLines(taken.slice(1)) }, rest };
    }
  }

  const mountNamespace = createdMountNamespace(first.run);
  if (mountNamespace !== undefined && first.run.kind === 'run') {
    const mounts = countWhile(1, (c) => c.kind === 'mount' && c.mntns === mountNamespace);
    const unmounts = steps[mounts]?.run;
    const trim = unmounts?.kind === 'umount' && unmounts.mntns === mountNamespace ? unmounts : undefined;
    const { taken, rest } = take(trim === undefined ? mounts : mounts + 1);
    if (mounts > 1) {
      const enter = first.run.argv.slice(0, -1);
      const mount = ['mount', '--fstab', '/dev/stdin', '--all'];
      const argv =
        trim === undefined
          ? [...enter, ...mount]
          : [...enter, 'sh', '-c', `umount "$@" & ${mount.join(' ')} && wait "$!"`, 'sh', ...umountWords(trim)];
      return { batch: { steps: taken, argv, stdin: fstab(taken.slice(1)) }, rest };
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
  // Where the batch makes the namespace first, ip's lines are those of the steps after that.
  const lines = batch.argv[0] === 'ip' ? batch.steps : batch.steps.slice(1);
  if (line !== undefined) return lines[Number(line) - 1] ?? last;
  if (stderr.startsWith('unshare:')) return batch.steps[0] ?? last;
  return batch.steps.find(({ run }) => run.kind === 'mount' && stderr.includes(`${run.target}: `)) ?? last;
}
