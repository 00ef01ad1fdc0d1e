/** Trees of few files, which rm(1) would need longer to be started for than to remove. */
import { lstatSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';

/** A container that nobody wrote into has about ten. */
const MOST_ENTRIES = 64;

/** Removes what is on its file system; false where it, or some of it, is left for rm(1), who knows all the cases. */
export function removeSmallTree(path: string): boolean {
  let count = 0;
  const remove = (dir: string, device: number): boolean => {
    const stat = lstatSync(dir);
    if (!stat.isDirectory() || stat.dev !== device) return false;
    for (const entry of readdirSync(dir, { withFileTypes: true })) {
      count += 1;
      if (count > MOST_ENTRIES) return false;
      const inner = join(dir, entry.name);
      if (!entry.isDirectory()) unlinkSync(inner);
      else if (!remove(inner, device)) return false;
    }
    rmdirSync(dir);
    return true;
  };
  try {
    return remove(path, lstatSync(path).dev);
  } catch {
    return false;
  }
}
