/** Where a program has to go to be in a container. */
import type { OciRuntime } from './oci-runtime.ts';

export interface Place {
  readonly rootfs: string;
  /** Folders that make up the root, the upper first: its files, as seen without entering it. */
  readonly layers: readonly string[];
  /** What is mounted in front of them. */
  readonly mounted?: readonly Mounted[] | undefined;
  readonly netns: string;
  readonly utsns: string;
  /** Absent where the container's mounts are in the host's table. */
  readonly mntns: string | undefined;
  /** Absent where they are the host's. */
  readonly pidns?: string;
  readonly ipcns?: string;
  readonly cgroupns?: string;
  readonly userns?: string;
  readonly timens?: string;
  /** Absent where programs get in by chroot. */
  readonly oci?: OciPlace;
  /** Absent where programs see the mounts of `mntns`. */
  readonly guest?: GuestPlace;
  /** Words of prlimit(1). */
  readonly ulimits?: readonly string[];
}

/** Of a container that an OCI runtime has made. */
export interface OciPlace {
  readonly runtime: OciRuntime;
  /** Its words, without the process. */
  readonly words: readonly string[];
  readonly capabilities: readonly string[];
  readonly noNewPrivileges: boolean;
}

/** Of a container whose mounts, and the root with them, are in a mount namespace of its PID 1's. */
export interface GuestPlace {
  readonly mntns: string;
  /** Capabilities that its programs do not have, as setpriv(1) takes them. */
  readonly drop: string;
  /** Its PID 1 comes and goes, and with it all its namespaces but that of its network. */
  readonly boots?: true;
}

/** A mount in a root, by what can be seen of it from outside. */
export interface Mounted {
  /** Inside the root, without symlinks. */
  readonly path: string;
  /** The host's file or directory; absent for a tmpfs. */
  readonly source?: string;
  /** Directories whose entries it has: none for a file, and for a tmpfs. */
  readonly dirs: readonly string[];
}
