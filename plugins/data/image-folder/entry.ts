/** An image of a folder, and what is said of it. */
export interface Entry {
  readonly path: string;
  readonly caption: string;
  /** How often an epoch shows it; once by default. */
  readonly repeats?: number;
}
