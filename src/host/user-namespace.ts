/**
 * Commands that make user namespaces, what belongs to them, and idmapped mounts: mount_setattr(2), which mount(8) of
 * util-linux 2.38 does not know. They are perl(1)'s, which every Debian has; the calls' numbers are the same on x86-64 and arm64. Pure.
 */
import { USERNS_IDS } from '../spec/userns.ts';

/** `hold` gives the folder in /proc of a process in new namespaces, which ends with this one, killed or not. */
const BEGIN = `
use IPC::Open2;
use Fcntl;
my ($out, $in);
sub fail { print STDERR "$_[0]: $!\\n"; leave(1) }
sub leave { if ($in) { close $in; wait } exit $_[0] }
sub hold {
  open2($out, $in, @_, "sh", "-c", 'echo $$; read -r end');
  my $pid = <$out> or leave(1);
  chomp $pid;
  return "/proc/$pid";
}
sub map_ids {
  my ($process, $map) = @_;
  for my $path ("$process/uid_map", "$process/gid_map") {
    open my $file, ">", $path or fail($path);
    defined syswrite $file, $map or fail($path);
  }
}
sub persist {
  my ($namespace, $file) = @_;
  return system("mount", "--bind", $namespace, $file) == 0;
}
`;

/** Words: the file, the first id on the host. */
const MAKE_USER = `${BEGIN}
my ($file, $first) = @ARGV;
my $process = hold("unshare", "--user");
map_ids($process, "0 $first ${USERNS_IDS}\\n");
leave(persist("$process/ns/user", $file) ? 0 : 1);
`;

/** Words: the user namespace, which kind, by proc(5), the file, which is to be there already but for that of a network. */
const MAKE_OWNED = `${BEGIN}
my ($userns, $kind, $file) = @ARGV;
if ($kind eq "net") { sysopen my $made, $file, O_WRONLY | O_CREAT | O_EXCL or fail($file) }
my $process = hold("nsenter", "--user=$userns", "unshare", "--$kind");
leave(0) if persist("$process/ns/$kind", $file);
unlink $file if $kind eq "net";
leave(1);
`;

const IDMAP = `${BEGIN}
sub idmap {
  my ($userns, $source, $target, $flags) = @_;
  my ($empty, $cwd, $recursive) = ("", -100, $flags =~ /r/ ? 0x8000 : 0);
  open my $ns, "<", $userns or fail($userns);
  my $tree = syscall 428, $cwd, $source, 02000001 | $recursive;
  fail("open_tree $source") if $tree < 0;
  my $attributes = pack "QQQQ", 0x100000 | ($flags =~ /o/ ? 1 : 0), 0, 0, fileno $ns;
  my $set = syscall 442, $tree, $empty, 0x1000 | $recursive, $attributes, 32;
  fail("its ids cannot be mapped where $source is") if $set < 0;
  my $moved = syscall 429, $tree, $empty, $cwd, $target, 4 | ($flags =~ /s/ ? 0x10 : 0);
  fail("move_mount $target") if $moved < 0;
}
`;

const IDMAP_MOUNT = `${IDMAP}
idmap(@ARGV);
`;

/** Words: the folder, the first id on the host. */
const IDMAP_FOLDER = `${IDMAP}
my ($folder, $first) = @ARGV;
my $process = hold("unshare", "--user");
map_ids($process, "0 $first ${USERNS_IDS}\\n${USERNS_IDS} 0 1\\n");
idmap("$process/ns/user", $folder, $folder, "s");
leave(0);
`;

/** Binds a new one onto `file`: 0 to 65535 in there are those from `hostId` on the host. */
export function makeUserNamespace(file: string, hostId: number): string[] {
  return ['perl', '-e', MAKE_USER, file, String(hostId)];
}

/** Prints, for each of these files that is a user namespace, a line with its name and one for each range, as user_namespaces(7). */
export function readIdMaps(files: readonly string[]): string[] {
  const script =
    'for file; do echo "$file"; nsenter --user="$file" --preserve-credentials cat /proc/self/uid_map 2>/dev/null; done';
  return ['sh', '-c', script, 'sh', ...files];
}

/** Another one in it: who has none of a user namespace's capabilities may do nothing with what is of that. */
export function makeOwnedNamespace(userns: string, kind: 'net' | 'ipc', file: string): string[] {
  return ['perl', '-e', MAKE_OWNED, userns, kind, file];
}

/** Mounts `source` at `target`, with the ids that its files have inside. */
export function mountIdmapped(
  userns: string,
  source: string,
  target: string,
  { recursive, readOnly }: { readonly recursive: boolean; readonly readOnly: boolean },
): string[] {
  return ['perl', '-e', IDMAP_MOUNT, userns, source, target, `${recursive ? 'r' : ''}${readOnly ? 'o' : ''}`];
}

/**
 * Mounts a folder over itself. What root of the host makes in there, an overlay's work directory and its whiteouts, has to be
 * somebody's: an id behind the others.
 */
export function mountFolderIdmapped(folder: string, hostId: number): string[] {
  return ['perl', '-e', IDMAP_FOLDER, folder, String(hostId)];
}
