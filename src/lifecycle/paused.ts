/** What is refused while a container's processes are held still. Apart from `pause`, since `exec` loads it. */
import { ConflictError } from '../errors.ts';

export function pausedError(verb: string, name: string): ConflictError {
  return new ConflictError(`cannot ${verb} ${name}: it is paused`, { hint: `minict unpause ${name}` });
}
