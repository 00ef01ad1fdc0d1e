/** The verbs of a container's files load as one chunk. */
export * as clone from './clone.ts';
export * as commit from './commit.ts';
export * as loadContainer from './load-container.ts';
export * as rebase from './rebase.ts';
export * as saveContainer from './save-container.ts';
export * as snapshot from './snapshot.ts';
