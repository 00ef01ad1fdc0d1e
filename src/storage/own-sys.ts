/** A /sys of a container's own network namespace: sysfs shows the interfaces of the one that it is mounted in. */
import type { Step } from '../step.ts';
import { besideMounts, type MountPlace } from './mount-step.ts';

export interface OwnSys {
  readonly netns: string;
  readonly readOnly: boolean;
  /** The host's cgroups are in it, as they are in the host's. */
  readonly cgroups: boolean;
}

/** $0: where, then the words that mount it. */
const WITH_CGROUPS = `
"$@" "$0" && mount --rbind /sys/fs/cgroup "$0/fs/cgroup" && exec mount --make-rslave "$0/fs/cgroup"
`;

export function planOwnSys(target: string, { netns, readOnly, cgroups }: OwnSys, place: MountPlace): Step {
  const options = `nosuid,nodev,noexec${readOnly ? ',ro' : ''}`;
  const mount = ['nsenter', `--net=${netns}`, 'mount', '-t', 'sysfs', '-o', options, 'sysfs'];
  const argv = cgroups ? ['sh', '-c', WITH_CGROUPS, target, ...mount] : [...mount, target];
  const step = besideMounts('mount sys', 'a /sys of its network namespace', argv, place);
  return { ...step, after: ['netns'], run: { ...step.run, mounts: target } as Step['run'] };
}
