/** How a program gets into a container: its environment, its cgroup, and `nsenter … chroot …`, as an argv. */
import { join } from 'node:path';
import { toolPath } from '../host/tool.ts';
import type { ContainerSpec } from '../spec/container.ts';
import type { Place } from '../spec/place.ts';
import { guestWords } from './guest.ts';
import { enterOci } from './oci.ts';
import type { User } from './user.ts';
import { waiting } from './waiter.ts';

export interface Program {
  readonly argv: readonly string[];
  /** Of which only what must not reach the host's tools on the way is used: the rest is handed down. */
  readonly env?: Readonly<Record<string, string>>;
  readonly user?: User | undefined;
  readonly workdir?: string | undefined;
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

function isSetInside([key, value]: readonly [string, string]): boolean {
  if (HARMLESS.includes(key)) return false;
  return STEERS_TOOLS.test(key) || namesLocaleFile(key, value) || isLostInShells(key);
}

/** What an environment is built of, not inherited, save TERM where there is a terminal. */
interface EnvOptions {
  readonly home?: string | undefined;
  readonly term?: string | undefined;
}

function wholeEnv(env: Readonly<Record<string, string>>, { home = '/root', term }: EnvOptions): Record<string, string> {
  return { HOME: home, ...(term === undefined ? {} : { TERM: term }), ...env };
}

/** A program's environment, as far as it may have an effect on the host's tools that lead to it. */
function programEnv(env: Readonly<Record<string, string>>, options: EnvOptions): Record<string, string> {
  const all = wholeEnv(env, options);
  return Object.fromEntries(Object.entries(all).filter((entry) => !isSetInside(entry)));
}

function setInside(env: Readonly<Record<string, string>>): string[] {
  const words = Object.entries(env)
    .filter(isSetInside)
    .map(([key, value]) => `${key}=${value}`);
  return words.length === 0 ? [] : ['env', '--', ...words];
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
  const groups = user && (user.groups.length === 0 ? '--clear-groups' : `--groups=${ids(user.groups, '')}`);
  return [
    ...[toolPath('sh'), '-c', REQUIRE_WORKDIR, rootfs, workdir],
    ...(user ? [toolPath('setpriv'), `--regid=${user.gid}`, groups as string, '--'] : []),
    ...[toolPath('unshare'), `--root=${rootfs}`, `--wd=${workdir}`, ...(user ? [`--setuid=${user.uid}`] : []), '--'],
  ];
}

function namespaceWords({ mntns, netns, utsns, ipcns, cgroupns }: Place): string[] {
  return [
    ...(mntns === undefined ? [] : [`--mount=${mntns}`]),
    `--net=${netns}`,
    `--uts=${utsns}`,
    ...(ipcns === undefined ? [] : [`--ipc=${ipcns}`]),
    ...(cgroupns === undefined ? [] : [`--cgroup=${cgroupns}`]),
  ];
}

/** chroot(1) and unshare(1) give 126 and 127 as a shell does. */
function enterArgv(place: Place, { argv, env = {}, user, workdir }: Program): string[] {
  const { rootfs, pidns } = place;
  const namespaces = [toolPath('nsenter'), ...namespaceWords(place)];
  const ulimits = place.ulimits === undefined ? [] : [toolPath('prlimit'), ...place.ulimits, '--'];
  const program = [...setInside(env), ...argv];
  if (place.guest !== undefined) {
    const way = [...ulimits, ...guestWords(place, place.guest, { user, workdir }), ...program];
    return [toolPath('nsenter'), `--pid=${pidns}`, '--no-fork', ...waiting(way)];
  }
  const inside = [
    ...ulimits,
    ...(workdir === undefined ? chrootWords(rootfs, user) : workdirWords(rootfs, join('/', workdir), user)),
    ...program,
  ];
  return pidns === undefined
    ? [...namespaces, ...inside]
    : [...namespaces, `--pid=${pidns}`, '--no-fork', ...waiting(inside)];
}

/** A program, by what leads to it, and the environment that goes with it. */
export interface Run {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** What leads to a program in a container, and the environment that this is given. `terminal`: stdin is one, of that kind. */
export function runIn(place: Place, program: Program, terminal?: { readonly term: string | undefined }): Run {
  const { argv, env = {}, user, workdir } = program;
  const options = { home: user?.home, term: terminal?.term };
  if (place.oci === undefined) return { argv: enterArgv(place, program), env: programEnv(env, options) };
  const words = { argv, env: wholeEnv(env, options), user, workdir, terminal: terminal !== undefined };
  return enterOci(place, place.oci, words);
}

/** Part of a script; `files` expands to those of cgroups, which have no white space. Its variable is no program's. */
export function enterLine(files: string): string {
  return `for minict_group in ${files}; do echo 0 >"$minict_group" || exit 125; done`;
}

/** Line of a script whose $0 has the cgroups' files. Descriptor 3, a lock if anything, is held until then. */
export const ENTER_CGROUP = `${enterLine('$0')}; exec 3>&-`;

/**
 * Lines of a script that becomes the program of $2 and the following, with $1 as its PATH. That comes last: dash takes its
 * builtins from where that has `%builtin`, behind the image's own folders. What shells export is not the program's. A process
 * enters a cgroup, by `enter`, before the exec, so nothing it starts can be outside.
 */
export function becomeLines(enter: string): string {
  const limits = ['umask 022', 'ulimit -S -n 1024 2>/dev/null'];
  return [...limits, enter, 'unset PWD OLDPWD SHLVL', 'export PATH="$1"', 'shift', 'exec "$@"'].join('; ');
}

export function inCgroup(enter: readonly string[], { argv, env }: Run, first = ':'): Run {
  const { PATH = '', ...rest } = env;
  const script = `${first}; ${becomeLines(ENTER_CGROUP)}`;
  return { argv: [toolPath('sh'), '-c', script, enter.join(' '), PATH, ...argv], env: rest };
}
