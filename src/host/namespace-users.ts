/** Who is in a namespace: it outlives its file as long as a process has it. Reads only. */
import { readdirSync, readlinkSync } from 'node:fs';

/** Inode numbers of the network namespaces that processes are in. */
export function networkNamespacesInUse(): Set<string> {
  const numbers = readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      return [readlinkSync(`/proc/${pid}/ns/net`).slice('net:['.length, -1)];
    } catch {
      return []; // It has ended meanwhile.
    }
  });
  return new Set(numbers);
}
