/**
 * Idmapped mounts: mount_setattr(2), which mount(8) of util-linux 2.38 does not know. perl(1), which every Debian has, makes
 * these calls; their numbers are the same on x86-64 and arm64. Pure.
 */
import { USERNS_IDS, type UserNamespace } from '../spec/userns.ts';

/** Words: the user namespace, from where, to where, `r` for all mounts in it and `o` for read-only. */
const IDMAP = `
my ($userns, $source, $target, $flags) = @ARGV;
my ($empty, $cwd, $recursive) = ("", -100, $flags =~ /r/ ? 0x8000 : 0);
sub fail { print STDERR "$_[0]: $!\\n"; exit 1 }
open my $ns, "<", $userns or fail $userns;
my $tree = syscall 428, $cwd, $source, 02000001 | $recursive;
fail "open_tree $source" if $tree < 0;
my $attributes = pack "QQQQ", 0x100000 | ($flags =~ /o/ ? 1 : 0), 0, 0, fileno $ns;
fail "its ids cannot be mapped where $source is" if 0 > syscall 442, $tree, $empty, 0x1000 | $recursive, $attributes, 32;
fail "move_mount $target" if 0 > syscall 429, $tree, $empty, $cwd, $target, 4;
`;

/** An argv that mounts `source` at `target`, with the ids that its files have inside. */
export function idmappedMount(userns: string, source: string, target: string, flags: string): string[] {
  return ['perl', '-e', IDMAP, userns, source, target, flags];
}

/**
 * $0: the folder, $1: the first id, $2: of perl. What root of the host makes in there, an overlay's work directory and its
 * whiteouts, has to be somebody's: an id behind the others.
 */
const IDMAP_FOLDER = `
exec 3>&2 2>/dev/null
unshare --user sh -c 'echo $$; exec sleep 10' 2>&3 3>&- | {
  read -r pid || exit 1
  map="0 $1 ${USERNS_IDS}
${USERNS_IDS} 0 1"
  printf '%s\\n' "$map" >"/proc/$pid/uid_map" && printf '%s\\n' "$map" >"/proc/$pid/gid_map" &&
    perl -e "$2" "/proc/$pid/ns/user" "$0" "$0" ""
  status=$?
  kill "$pid"
  exit "$status"
} 2>&3
`;

/** An argv that mounts a folder over itself. */
export function idmappedFolder(folder: string, { hostId }: UserNamespace): string[] {
  return ['sh', '-c', IDMAP_FOLDER, folder, String(hostId), IDMAP];
}
