/**
 * A shell line in a container whose OCI runtime copies what its programs write (runc): that ends when all have closed it, daemons
 * too. So the runtime is to leave the line, with the caller's own descriptors, and the line's shell tells its status by its stdin,
 * a pipe that nothing else has.
 */
import { closeSync, readFile } from 'node:fs';
import { promisify } from 'node:util';
import { openPipe } from '../host/syscalls.ts';
import type { Place } from '../spec/place.ts';

const TELL = '/bin/sh -c "$0" </dev/null; echo "$?" >&0';
const KILLED = 137;

export interface LeftLine {
  readonly place: Place;
  readonly argv: readonly string[];
  /** Its stdin, to be closed once the line has it. */
  readonly writing: number;
  /** Its status, given that of what led to it. */
  readonly status: (led: Promise<number>) => Promise<number>;
}

export function leftLine(place: Place, line: string): LeftLine {
  const { reading, writing } = openPipe();
  const words = place.oci?.words.flatMap((word) => (word === 'exec' ? [word, '--detach'] : [word]));
  const status = async (led: Promise<number>) => {
    try {
      const told = (await promisify(readFile)(reading)).toString();
      return (await led) || (told === '' ? KILLED : Number(told));
    } finally {
      closeSync(reading);
    }
  };
  return {
    place: place.oci === undefined || words === undefined ? place : { ...place, oci: { ...place.oci, words } },
    argv: ['/bin/sh', '-c', TELL, line],
    writing,
    status,
  };
}
