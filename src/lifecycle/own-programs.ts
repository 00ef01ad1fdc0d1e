/** Which of the processes in a container's cgroup are its programs: who waits for them is in there, too. */
import { statSync } from 'node:fs';
import { type ContainerSpec, isIsolated } from '../spec/container.ts';

function pidNamespaceOf(pid: number | 'self'): number | undefined {
  try {
    return statSync(`/proc/${pid}/ns/pid`, { throwIfNoEntry: false })?.ino;
  } catch {
    // It is just ending.
    return undefined;
  }
}

/** Of a container with a PID namespace of its own: those in that. A process waits outside for each of them, and hands signals on. */
export function isInside(): (pid: number) => boolean {
  const outside = pidNamespaceOf('self');
  return (pid) => pidNamespaceOf(pid) !== outside;
}

export function isOwnProgram(spec: ContainerSpec): (pid: number) => boolean {
  return isIsolated(spec, 'pid') ? isInside() : () => true;
}
