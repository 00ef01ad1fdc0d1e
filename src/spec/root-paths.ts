/** What minict mounts in every root file system; a path that leads into one of the folders leads to the host. */

/** In the order of their mounts. */
export const HOST_FOLDERS = ['/proc', '/sys', '/dev'];
/** Minict's own, over the image's. */
export const HOST_FILES = ['/etc/hosts', '/etc/hostname', '/etc/resolv.conf'];

export function isWithin(path: string, dir: string): boolean {
  return `${path}/`.startsWith(dir === '/' ? dir : `${dir}/`);
}
