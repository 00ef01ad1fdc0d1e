/** GNU tar at work on an untrusted archive: it gets no byte of a member that has not been looked at. */
import type { TarMembers } from './tar-members.ts';

const BLOCK = 512;

/** tar, told to extract what comes from its stdin. */
type Tar = Bun.Subprocess<'pipe', 'ignore', 'pipe'>;

/** Hands on what `members` lets through. Returns why tar failed, in its words; throws what `members` and `pieces` throw. */
export async function feedTar(
  tar: Tar,
  pieces: AsyncIterable<Buffer>,
  members: TarMembers,
): Promise<string | undefined> {
  const complaints = new Response(tar.stderr).text();
  let tarEnded = false;
  const feed = async (bytes: Uint8Array) => {
    try {
      tar.stdin.write(bytes);
      await tar.stdin.flush();
    } catch {
      // It closed its stdin: its exit status and its words tell why.
      tarEnded = true;
    }
  };
  try {
    for await (const piece of pieces) {
      const taken = members.push(piece);
      if (taken > 0) await feed(piece.subarray(0, taken));
      if (tarEnded) break;
    }
    if (!tarEnded) {
      members.finish();
      await feed(new Uint8Array(BLOCK));
    }
    await Promise.resolve(tar.stdin.end()).catch(() => {});
    return (await tar.exited) === 0 ? undefined : causeOf(await complaints) || 'tar failed';
  } finally {
    // Nothing may write into the folder any more when it is removed.
    tar.kill('SIGKILL');
    await tar.exited;
  }
}

/** What tar said, without the lines that only sum up. A full disk comes first: the rest follows from it. */
export function causeOf(complaints: string): string {
  const lines = complaints.split('\n').map((line) => line.replace(/^tar: /, ''));
  // A write that the disk takes only in part is the same, said in tar's words.
  const full = lines.some((line) => /No space left on device|: Wrote only \d+ of/.test(line));
  return full ? 'No space left on device' : (lines[0] ?? '');
}
