/** The options that notes are made of: those that were given, and with --debug also those that nobody gave, whose notes are of use to few. */
export const spokenOf = <O extends object>(given: O, all: O): O => (process.env.STEPLOOM_DEBUG ? all : given);
