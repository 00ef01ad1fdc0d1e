/** How fstab(5) and proc_pid_mountinfo(5) write names with white space and backslashes. */

export function octalEscaped(text: string): string {
  return text.replace(/[ \t\n\r\\#]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`);
}

/** As the kernel shows a mount point. */
export function inMountinfo(path: string): string {
  return path.replace(/[ \t\n\\]/g, octalEscaped);
}
