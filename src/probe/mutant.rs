//! The guards that a test takes out, one at a time: with each of them out, a named invariant must fail.

/// Declares the mutants: the name, what is broken, the rule that is taken out.
macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident: $rule:literal => $text:literal;)*) => {
        /// A guard that is out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mutant { $($(#[$doc])* $name,)* }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The rule that is out.
            #[must_use]
            pub const fn rule(self) -> &'static str {
                match self { $(Self::$name => $rule,)* }
            }

            /// What the broken code does.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

mutants! {
    /// See its rule.
    WatermarkIsLogEnd: "R7" => "the high watermark is the leader's own flushed end";
    /// See its rule.
    FlushedIsWritten: "S1" => "what is written counts as flushed";
}
