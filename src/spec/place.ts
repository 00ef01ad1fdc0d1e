/** Where a program has to go to be in a container. */
export interface Place {
  readonly rootfs: string;
  /** Folders that make up the root, the upper first: its files, as seen without entering it. */
  readonly layers: readonly string[];
  readonly netns: string;
  readonly utsns: string;
  /** Absent where the container's mounts are in the host's table. */
  readonly mntns: string | undefined;
}
