//! What is agreed on at the beginning: which changes the filter may ask for, which steps the mail server takes.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Sub};

macro_rules! flags {
    ($(#[$meta:meta])* $type:ident { $($(#[$doc:meta])* $name:ident = $value:expr;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub struct $type(pub u32);

        impl $type {
            /// None of them.
            pub const NONE: $type = $type(0);
            $($(#[$doc])* pub const $name: $type = $type($value);)*

            /// Whether all of `other` are in it.
            pub const fn contains(self, other: $type) -> bool {
                self.0 & other.0 == other.0
            }
        }

        impl BitOr for $type {
            type Output = $type;
            fn bitor(self, other: $type) -> $type {
                $type(self.0 | other.0)
            }
        }

        impl BitOrAssign for $type {
            fn bitor_assign(&mut self, other: $type) {
                self.0 |= other.0;
            }
        }

        impl BitAnd for $type {
            type Output = $type;
            fn bitand(self, other: $type) -> $type {
                $type(self.0 & other.0)
            }
        }

        impl Sub for $type {
            type Output = $type;
            fn sub(self, other: $type) -> $type {
                $type(self.0 & !other.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut rest = self.0;
                f.write_str(concat!(stringify!($type), "("))?;
                $(if rest & $value != 0 {
                    f.write_str(concat!(stringify!($name), " "))?;
                    rest &= !$value;
                })*
                write!(f, "{rest:#x})")
            }
        }
    };
}

flags! {
    /// Changes that a filter may ask for at the end of a message (`SMFIF_*`).
    Actions {
        /// Add and insert header fields.
        ADD_HEADERS = 0x01;
        /// Replace the body.
        CHANGE_BODY = 0x02;
        /// Add recipients.
        ADD_RECIPIENTS = 0x04;
        /// Delete recipients.
        DELETE_RECIPIENTS = 0x08;
        /// Change and delete header fields.
        CHANGE_HEADERS = 0x10;
        /// Have the message held by the mail server. Version 2.
        QUARANTINE = 0x20;
        /// Change the sender. Version 6.
        CHANGE_SENDER = 0x40;
        /// Add recipients with ESMTP parameters. Version 6.
        ADD_RECIPIENTS_WITH_PARAMETERS = 0x80;
        /// Say which macros are wanted at which stage. Version 6.
        SET_SYMBOLS = 0x100;
    }
}

impl Actions {
    /// What a mail server means that offers none (`SMFI_V1_ACTS`).
    pub const VERSION_1: Actions = Actions(0x0f);
}

flags! {
    /// Steps of the protocol (`SMFIP_*`). In what the filter answers, `NO_*` asks the mail server not to send
    /// something, `NO_REPLY_*` says that the filter will not reply to it, the others ask for a feature.
    Steps {
        /// Nothing about the connection.
        NO_CONNECT = 0x01;
        /// No HELO.
        NO_HELO = 0x02;
        /// No MAIL.
        NO_MAIL = 0x04;
        /// No RCPT.
        NO_RCPT = 0x08;
        /// No body.
        NO_BODY = 0x10;
        /// No header fields.
        NO_HEADERS = 0x20;
        /// No end of the header.
        NO_END_OF_HEADER = 0x40;
        /// No reply to header fields. Version 2 under the name of `SMFIP_NOHREPL`.
        NO_REPLY_HEADER = 0x80;
        /// No commands that the mail server does not know. Version 3.
        NO_UNKNOWN = 0x100;
        /// No DATA. Version 4.
        NO_DATA = 0x200;
        /// The mail server understands [`crate::Response::Skip`]. Version 6, as all that follow.
        SKIP = 0x400;
        /// Recipients that the mail server has rejected are told, too.
        REJECTED_RECIPIENTS = 0x800;
        /// No reply to the connection.
        NO_REPLY_CONNECT = 0x1000;
        /// No reply to HELO.
        NO_REPLY_HELO = 0x2000;
        /// No reply to MAIL.
        NO_REPLY_MAIL = 0x4000;
        /// No reply to RCPT.
        NO_REPLY_RCPT = 0x8000;
        /// No reply to DATA.
        NO_REPLY_DATA = 0x1_0000;
        /// No reply to unknown commands.
        NO_REPLY_UNKNOWN = 0x2_0000;
        /// No reply to the end of the header.
        NO_REPLY_END_OF_HEADER = 0x4_0000;
        /// No reply to pieces of the body.
        NO_REPLY_BODY = 0x8_0000;
        /// Header values come, and are sent, with the white space that follows the colon.
        HEADER_LEADING_SPACE = 0x10_0000;
        /// Up to 256 KiB of data in a packet instead of 64 KiB. Not offered by a Sendmail as it is built by default.
        DATA_256K = 0x1000_0000;
        /// Up to 1 MiB of data in a packet.
        DATA_1M = 0x2000_0000;
    }
}

impl Steps {
    /// What a mail server means that offers none (`SMFI_V1_PROT`).
    pub const VERSION_1: Steps = Steps(0x3f);
    /// What the MTA does for itself and libmilter, which a filter confirms rather than chooses (`SMFI_INTERNAL`).
    pub const INTERNAL: Steps = Steps(0x7000_0000);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        let some = Actions::ADD_HEADERS | Actions::QUARANTINE;
        assert!(some.contains(Actions::QUARANTINE) && !some.contains(Actions::CHANGE_BODY));
        assert_eq!(some - Actions::QUARANTINE, Actions::ADD_HEADERS);
        assert_eq!(some & Actions::VERSION_1, Actions::ADD_HEADERS);
        assert_eq!(format!("{:?}", Steps::SKIP | Steps(0x8000_0000)), "Steps(SKIP 0x80000000)");
    }
}
