/** Whether a program can be run, as far as that is seen from outside of the container. Reads only. */
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { containerEnv, envFolders, setInside } from '../process/enter.ts';
import type { ContainerSpec } from '../spec/container.ts';
import type { Place } from '../spec/place.ts';
import { HOST_FOLDERS, isWithin } from '../spec/root-paths.ts';
import { resolveInRoot } from '../storage/resolve.ts';

/** The host's, of which nothing is known here, count as such. */
function isExecutable({ layers, mounted }: Place, path: string): boolean | undefined {
  if (HOST_FOLDERS.some((folder) => isWithin(path, folder))) return true;
  const found = resolveInRoot(layers, path, mounted);
  if (found?.stat === undefined || found.file === undefined) return undefined;
  return found.stat.isFile() && (found.stat.mode & 0o111) !== 0;
}

/** Of a script; undefined where it is none. */
function interpreterOf({ layers, mounted }: Place, path: string): string | undefined {
  const file = resolveInRoot(layers, path, mounted)?.file;
  if (file === undefined) return undefined;
  const head = Buffer.alloc(256);
  // Nobody waits at a pipe, nor follows a link, that came in between.
  const fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const text = head.toString('latin1', 0, readSync(fd, head));
    return /^#![ \t]*([^ \t\n\0]+)/.exec(text)?.[1];
  } finally {
    closeSync(fd);
  }
}

/** The files that execvp(3) tries for a program, in order. */
function candidates(program: string, workdir: string, path: string): string[] {
  if (program.includes('/')) return [join('/', workdir, program)];
  return path.split(':').map((folder) => join('/', folder.startsWith('/') ? folder : join(workdir, folder), program));
}

/** Where it looks as if the main command cannot be run. A mount that was made inside is not seen. */
export function seemsNotToRun(spec: ContainerSpec, place: Place): boolean {
  const { command, workdir = '/' } = spec;
  const env = containerEnv(spec);
  const find = (program: string, path: string) =>
    candidates(program, workdir, path).find((candidate) => isExecutable(place, candidate) === true);
  if (place.oci === undefined && setInside(env).length > 0 && find('env', envFolders(env)) === undefined) return true;
  const file = find(command[0] ?? '', env.PATH ?? '');
  if (file === undefined) return true;
  const interpreter = interpreterOf(place, file);
  return interpreter !== undefined && isExecutable(place, join('/', interpreter)) !== true;
}
