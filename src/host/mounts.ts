/** A mount as the words of mount(2), where that is all that mount(8) would do. Pure. */

const MS_RDONLY = 1;
const MS_NODEV = 4;
const MS_REMOUNT = 0x20;
const MS_BIND = 0x1000;
const MS_REC = 0x4000;
const MS_SLAVE = 0x80000;

/** Arguments of mount(2). */
export interface MountCall {
  readonly source: string;
  readonly target: string;
  readonly fstype: string;
  readonly flags: number;
  readonly data: string;
}

interface Mount {
  readonly source: string;
  readonly target: string;
  readonly fstype: string;
  readonly options: string;
  readonly cwd?: string;
}

/** Of a mount that has no other flags: with both its ends named, mount(8) gives it just these. */
export const NO_DEVICES = 'remount,bind,nodev';

/** One after the other; undefined where it is mount(8) that knows how. */
export function mountCalls({ source, target, fstype, options, cwd }: Mount): MountCall[] | undefined {
  const call = (flags: number, data = '') => ({ source, target, fstype, flags, data });
  if (cwd !== undefined) return undefined;
  // overlay's own options begin so; what is not its own would come before.
  if (fstype === 'overlay' && options.startsWith('lowerdir=')) return [call(0, options)];
  if (fstype !== 'none') return options === 'defaults' ? [call(0)] : undefined;
  if (options === 'bind') return [call(MS_BIND)];
  if (options === NO_DEVICES) return [call(MS_REMOUNT | MS_BIND | MS_NODEV)];
  if (options === `${NO_DEVICES},ro`) return [call(MS_REMOUNT | MS_BIND | MS_NODEV | MS_RDONLY)];
  return options === 'rbind,rslave' ? [call(MS_BIND | MS_REC), call(MS_SLAVE | MS_REC)] : undefined;
}

/** Everything below stays what it is, and what is mounted in it from now on does not go back. */
export const SLAVE_ROOT: MountCall = {
  source: 'none',
  target: '/',
  fstype: 'none',
  flags: MS_SLAVE | MS_REC,
  data: '',
};

export function bindCall(source: string, target: string): MountCall {
  return { source, target, fstype: 'none', flags: MS_BIND, data: '' };
}
