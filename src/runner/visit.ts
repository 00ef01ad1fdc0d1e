/** Neighbouring steps that system calls do in one visit to a container's namespace: no process is started for them. */
import { HostError } from '../errors.ts';
import { type MountCall, mountCalls } from '../host/mounts.ts';
import { inMountNamespace, inNetworkNamespace, mountAll, netnsPath } from '../host/namespaces.ts';
import { changeLinks, linkChange } from '../host/rtnetlink.ts';
import type { Command, Step } from '../step.ts';

export interface Visit {
  readonly steps: readonly Step[];
  /** Returns how many of them were done: where the kernel refuses one, the tool follows, and tells why it cannot. */
  readonly make: () => number;
}

/** Of the steps from the front; undefined where the first needs a process, or nothing but itself. */
export function nextVisit(steps: readonly Step[]): Visit | undefined {
  const first = steps[0]?.run;
  if (first?.kind === 'run' && first.netns !== undefined) {
    const { netns } = first;
    const changes = leading(steps, (run) => (run.kind === 'run' && run.netns === netns ? changeOf(run) : undefined));
    return visit(steps, changes.length, () => inNetworkNamespace(netnsPath(netns), () => changeLinks(changes)));
  }
  if (first?.kind === 'mount' && first.mntns !== undefined) {
    const { mntns } = first;
    const mounts = leading(steps, (run) => (run.kind === 'mount' && run.mntns === mntns ? mountCalls(run) : undefined));
    return visit(steps, mounts.length, () => inMountNamespace(mntns, () => mountInTurn(mounts)));
  }
  return undefined;
}

function changeOf({ argv }: Command & { kind: 'run' }) {
  return argv[0] === 'ip' ? linkChange(argv.slice(1)) : undefined;
}

/** What `read` makes of the first steps, up to one of which it makes nothing. */
function leading<T>(steps: readonly Step[], read: (run: Command) => T | undefined): T[] {
  const all: T[] = [];
  for (const { run } of steps) {
    const value = read(run);
    if (value === undefined) break;
    all.push(value);
  }
  return all;
}

function visit(steps: readonly Step[], length: number, action: () => number): Visit | undefined {
  return length === 0 ? undefined : { steps: steps.slice(0, length), make: () => orElse(0, action) };
}

/** What the kernel refused counts as not done. */
function orElse<T>(refused: T, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof HostError) return refused;
    throw error;
  }
}

function mountInTurn(mounts: readonly (readonly MountCall[])[]): number {
  const isMounted = (calls: readonly MountCall[]) =>
    orElse(false, () => {
      mountAll(calls);
      return true;
    });
  const refused = mounts.findIndex((calls) => !isMounted(calls));
  return refused < 0 ? mounts.length : refused;
}
