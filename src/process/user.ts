/**
 * `-u user[:group]` by the container's own passwd and group: never by the host's, which chroot(1) would fall back to.
 * Pure.
 */
import { InvalidInputError, NotFoundError } from '../errors.ts';

export interface User {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
  readonly home: string;
}

/** The largest one, -1, means "no change" to the kernel. */
const MAX_ID = 0xffff_fffe;

function parseId(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,10}$/.test(text) && Number(text) <= MAX_ID ? Number(text) : undefined;
}

/** Fields of the lines that have a name and an id, as passwd(5) and group(5) have. */
function entries(text: string): string[][] {
  return text
    .split('\n')
    .map((line) => line.split(':'))
    .filter((fields) => fields[0] !== '' && parseId(fields[2]) !== undefined);
}

function findEntry(all: readonly string[][], wanted: string): string[] | undefined {
  return all.find(([name]) => name === wanted) ?? all.find((fields) => parseId(fields[2]) === parseId(wanted));
}

/** As docker resolves it: a number needs no entry, and a group given by name or number replaces the user's own. */
export function resolveUser(wanted: string, passwd: string, group: string): User {
  const [userName = '', groupName, ...more] = wanted.split(':');
  if (userName === '' || groupName === '' || more.length > 0) {
    throw new InvalidInputError(`cannot use -u '${wanted}': not user or user:group`);
  }
  const fail = (what: string, name: string) =>
    new NotFoundError(`cannot use -u ${wanted}: no ${what} ${name} in the container`, {
      hint: 'name one of its own, or give a number',
    });
  const user = findEntry(entries(passwd), userName);
  const uid = parseId(user?.[2]) ?? parseId(userName);
  if (uid === undefined) throw fail('user', userName);
  const home = user?.[5] || '/';
  const groups = entries(group);
  if (groupName !== undefined) {
    const gid = parseId(findEntry(groups, groupName)?.[2]) ?? parseId(groupName);
    if (gid === undefined) throw fail('group', groupName);
    return { uid, gid, groups: [], home };
  }
  const memberships = groups.filter(
    (fields) => user !== undefined && fields[3]?.split(',').includes(user[0] as string),
  );
  return { uid, gid: parseId(user?.[3]) ?? 0, groups: memberships.map((fields) => Number(fields[2])), home };
}
