/** Whom a program is to run as, by the container's own files. */
import { resolveUser, type User } from '../process/user.ts';
import type { Place } from '../spec/place.ts';
import { readInRoot } from '../storage/resolve.ts';

/** `user[:group]` Throws InvalidInputError, NotFoundError. */
export function userInside(wanted: string, { layers, mounted }: Pick<Place, 'layers' | 'mounted'>): User {
  const [passwd = '', group = ''] = ['/etc/passwd', '/etc/group'].map((path) => readInRoot(layers, path, mounted));
  return resolveUser(wanted, passwd, group);
}
