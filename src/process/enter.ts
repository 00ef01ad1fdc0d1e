/** How a program gets into a container: its environment, its cgroup, and `nsenter … chroot …`, as an argv. */
import { toolPath } from '../host/tool.ts';
import type { ContainerSpec } from '../spec/container.ts';
import type { Place } from '../spec/place.ts';
import type { User } from './user.ts';

export interface Program {
  readonly argv: readonly string[];
  /** Of which only what must not reach the host's tools on the way is used: the rest is handed down. */
  readonly env?: Readonly<Record<string, string>>;
  readonly user?: User | undefined;
  readonly workdir?: string | undefined;
  /**
   * A reaper on the host that waits for it, in a PID namespace: started in a third of the time that a shell takes. It gives the
   * program a process group of its own, so not on a terminal.
   */
  readonly init?: string | undefined;
  /** Descriptor of what leads to its OCI runtime (oci-entry.ts). */
  readonly entry?: number | undefined;
}

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** What all programs of a container have in their environment. */
export function containerEnv(spec: ContainerSpec): Record<string, string> {
  return { HOSTNAME: spec.hostname, PATH, ...spec.env };
}

/**
 * What steers the loader, the C library (ld.so(8), environ(7)), or the shell of the host's own tools and its scripts, which are
 * on the way into a container. An image is untrusted, and could have them load its files, as root on the host: so these are set
 * inside.
 */
const STEERS_TOOLS =
  /^(LD_|MALLOC_|BASH|MINICT_|minict_|GLIBC_TUNABLES$|GCONV_PATH$|GETCONF_DIR$|(MUSL_)?LOCPATH$|NLSPATH$|ENV$|SHELLOPTS$|PS4$|IFS$)/;

/** A locale with a slash in its name is a path (glibc's findlocale.c). */
function namesLocaleFile(key: string, value: string): boolean {
  return /^(LANG|LANGUAGE|LC_.*)$/.test(key) && value.includes('/');
}

/** What a shell on the way would not hand on, or not as it is. */
function isLostInShells(key: string): boolean {
  return !/^[A-Za-z_]\w*$/.test(key) || /^(OPTIND|LINENO|PPID|PWD|OLDPWD|SHLVL|_)$/.test(key);
}

/** What every container has needs no regular expression: to compile one takes an exec 0.1 ms. */
const HARMLESS: readonly string[] = ['HOME', 'HOSTNAME', 'PATH', 'TERM'];

/** It, and what goes with it, uses loops: what JavaScript has for lists is compiled at first use, 0.1 ms in an exec. */
function isSetInside(key: string, value: string): boolean {
  if (HARMLESS.includes(key)) return false;
  return STEERS_TOOLS.test(key) || namesLocaleFile(key, value) || isLostInShells(key);
}

/** What an environment is built of, not inherited, save TERM where there is a terminal. */
interface EnvOptions {
  readonly home?: string | undefined;
  readonly term?: string | undefined;
}

export function wholeEnv(
  env: Readonly<Record<string, string>>,
  { home = '/root', term }: EnvOptions,
): Record<string, string> {
  return { HOME: home, ...(term === undefined ? {} : { TERM: term }), ...env };
}

/**
 * A program's environment, as far as it may have an effect on the host's tools that lead to it. Where some of it is set inside,
 * so is PATH: the image's env(1), which does that, need not be where the program is looked for.
 */
export function programEnv(env: Readonly<Record<string, string>>, options: EnvOptions): Record<string, string> {
  // A variable may be called __proto__.
  const outside: Record<string, string> = Object.create(null);
  let isAllOutside = true;
  for (const [key, value] of Object.entries(wholeEnv(env, options))) {
    if (!isSetInside(key, value)) outside[key] = value;
    else isAllOutside = false;
  }
  if (!isAllOutside) outside.PATH = envFolders(env);
  return outside;
}

/** Where env(1) is looked for, as PATH has it. */
export function envFolders({ PATH: own }: Readonly<Record<string, string>>): string {
  return `${own}:${PATH}`;
}

/** Words that set the rest of it inside; none where all is set outside. */
export function setInside(env: Readonly<Record<string, string>>): string[] {
  const words: string[] = [];
  for (const [key, value] of Object.entries(env)) if (isSetInside(key, value)) words.push(`${key}=${value}`);
  return words.length === 0 ? [] : ['env', '--', `PATH=${env.PATH}`, ...words];
}

/**
 * Says what unshare(1) would not: $0 is the root, $1 a folder in it. Where a symlink is on the way nobody outside can tell.
 * Its variables are no program's; and for the program's PATH see `inCgroup`.
 */
const REQUIRE_WORKDIR = `
minict_path=$PATH PATH=/usr/bin:/bin
minict_at=$0 minict_rest=$1/
while [ -n "$minict_rest" ]; do
  minict_at=$minict_at/\${minict_rest%%/*} minict_rest=\${minict_rest#*/}
  [ ! -L "$minict_at" ] || break
  [ -d "$minict_at" ] || { echo "minict: cannot use -w $1: no such directory in the container" >&2; exit 126; }
done
shift; unset PWD OLDPWD SHLVL; PATH=$minict_path
exec "$@"
`;

const ids = (numbers: readonly number[], prefix: string) => numbers.map((id) => `${prefix}${id}`).join(',');

function chrootWords(rootfs: string, user: User | undefined): string[] {
  // With + an id is not looked up as a name, neither inside nor on the host.
  const as = user && [`--userspec=+${user.uid}:+${user.gid}`, `--groups=${ids(user.groups, '+')}`];
  return [toolPath('chroot'), ...(as ?? []), rootfs];
}

/**
 * chroot(1) always starts in /. unshare(1), which is to unshare nothing here, enters a working directory inside, where its
 * symlinks cannot lead out: nothing of the image is needed for it. It takes a group only without others, so setpriv(1) has
 * set them before.
 */
function workdirWords(rootfs: string, workdir: string, user: User | undefined): string[] {
  // Imported at the top, it would cost every exec.
  const { join } = process.getBuiltinModule('node:path');
  const folder = join('/', workdir);
  const groups = user && (user.groups.length === 0 ? '--clear-groups' : `--groups=${ids(user.groups, '')}`);
  return [
    ...[toolPath('sh'), '-c', REQUIRE_WORKDIR, rootfs, folder],
    ...(user ? [toolPath('setpriv'), `--regid=${user.gid}`, groups as string, '--'] : []),
    ...[toolPath('unshare'), `--root=${rootfs}`, `--wd=${folder}`, ...(user ? [`--setuid=${user.uid}`] : []), '--'],
  ];
}

export function namespaceWords({ mntns, netns, utsns, ipcns, cgroupns, timens }: Place): string[] {
  return [
    ...(mntns === undefined ? [] : [`--mount=${mntns}`]),
    `--net=${netns}`,
    `--uts=${utsns}`,
    ...(ipcns === undefined ? [] : [`--ipc=${ipcns}`]),
    ...(cgroupns === undefined ? [] : [`--cgroup=${cgroupns}`]),
    ...(timens === undefined ? [] : [`--time=${timens}`]),
  ];
}

/** What leads to a program from within the namespaces. chroot(1) and unshare(1) give 126 and 127 as a shell does. */
export function insideWords({ rootfs, ulimits }: Place, { argv, env = {}, user, workdir }: Program): string[] {
  return [
    ...limitWords(ulimits),
    ...(workdir === undefined ? chrootWords(rootfs, user) : workdirWords(rootfs, workdir, user)),
    ...setInside(env),
    ...argv,
  ];
}

export function limitWords(ulimits: Place['ulimits']): string[] {
  return ulimits === undefined ? [] : [toolPath('prlimit'), ...ulimits, '--'];
}

/** A program, by what leads to it, and the environment that goes with it. */
export interface Run {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** A terminal that stdin is, of a kind. */
export interface Terminal {
  readonly term: string | undefined;
}

/**
 * What leads to a program where nsenter(1) and chroot(1) are all that there is to it; the other ways are run-in.ts's, which an
 * exec does not load in vain.
 */
export function enterChroot(place: Place, program: Program, terminal?: Terminal): Run {
  const { env = {}, user } = program;
  return {
    argv: [toolPath('nsenter'), ...namespaceWords(place), ...insideWords(place, program)],
    env: programEnv(env, { home: user?.home, term: terminal?.term }),
  };
}
