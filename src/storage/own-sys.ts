/** A /sys of a container's own network namespace: sysfs shows the interfaces of the one that it is mounted in. */
import type { Step } from '../step.ts';
import { besideMounts, type MountPlace } from './mount-step.ts';

export interface OwnSys {
  readonly netns: string;
  readonly readOnly: boolean;
}

export function planOwnSys(target: string, { netns, readOnly }: OwnSys, place: MountPlace): Step {
  const options = `nosuid,nodev,noexec${readOnly ? ',ro' : ''}`;
  const argv = ['nsenter', `--net=${netns}`, 'mount', '-t', 'sysfs', '-o', options, 'sysfs', target];
  const step = besideMounts('mount sys', 'a /sys of its network namespace', argv, place);
  return { ...step, run: { ...step.run, mounts: target } as Step['run'] };
}
