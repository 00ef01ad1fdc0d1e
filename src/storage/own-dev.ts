/** A /dev of a container's own: the devices that every program may have, terminals and shared memory, and none of the host's. */
import type { Step } from '../step.ts';
import { besideMounts, type MountPlace } from './mount-step.ts';

/** $0 is where. Numbers are those of devices.txt of the kernel's documentation. */
const MAKE = `
set -e
mount -t tmpfs -o nosuid,strictatime,mode=755,size=65536k tmpfs "$0"
cd "$0"
while read -r name minor; do mknod -m 666 "$name" c 1 "$minor"; done <<END
null 3
zero 5
full 7
random 8
urandom 9
END
mknod -m 666 tty c 5 0
mkdir pts shm mqueue
mount -t devpts -o nosuid,noexec,newinstance,ptmxmode=666,mode=620,gid=5 devpts pts
mount -t tmpfs -o nosuid,nodev,noexec,mode=1777,size=65536k shm shm
mount -t mqueue -o nosuid,nodev,noexec mqueue mqueue
ln -s pts/ptmx ptmx
ln -s /proc/self/fd fd
ln -s fd/0 stdin
ln -s fd/1 stdout
ln -s fd/2 stderr
`;

/** `ipcns` is whose message queues show; the host's without one. */
export function planOwnDev(target: string, ipcns: string | undefined, place: MountPlace): Step[] {
  const enter = ipcns === undefined ? [] : ['nsenter', `--ipc=${ipcns}`];
  const step = besideMounts('mount dev', 'a /dev of its own', [...enter, 'sh', '-c', MAKE, target], place);
  return [{ ...step, run: { ...step.run, mounts: target } as Step['run'] }];
}
