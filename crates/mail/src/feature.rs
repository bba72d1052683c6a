//! What the content of a part is able to do, named: macros, scripts, things hidden inside. Not malformed, and often
//! innocent; a policy says what it is worth.

use crate::PartId;

/// Something active or hidden in the content of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// What kind.
    pub kind: FeatureKind,
    /// Where.
    pub part: PartId,
    /// The proof, for people, escaped and shortened: the macro's name, the call, the address.
    pub detail: String,
}

/// An address that a part holds elsewhere than in text, for whoever judges links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where.
    pub part: PartId,
    /// The address as it stands, at most 2,048 bytes.
    pub url: String,
}

macro_rules! features {
    ($($variant:ident $name:literal $meaning:literal;)*) => {
        /// Kinds of features. Each has a stable name (used as a symbol) and a one-line meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum FeatureKind {
            $(#[doc = $meaning] $variant,)*
        }

        impl FeatureKind {
            /// All kinds.
            pub const ALL: &[FeatureKind] = &[$(FeatureKind::$variant,)*];

            /// The name it is known by in findings and configuration.
            pub const fn name(self) -> &'static str {
                match self {
                    $(FeatureKind::$variant => $name,)*
                }
            }

            /// What it means, in one line.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(FeatureKind::$variant => $meaning,)*
                }
            }
        }
    };
}

features! {
    // Office documents.
    Macro "MACRO" "a document with macros";
    MacroAuto "MACRO_AUTO" "a macro that runs by itself when the document is opened or closed";
    MacroSuspicious "MACRO_SUSPICIOUS" "a macro that starts programs, writes files or fetches from the network";
    MacroStomped "MACRO_STOMPED" "a macro whose source is not what its compiled code was made of";
    MacroXlm "MACRO_XLM" "an Excel 4.0 macro sheet";
    Dde "DDE" "a document that asks another program for data (DDE), which can start any command";
    ExternalTemplate "EXTERNAL_TEMPLATE" "a document that fetches a template, frame or object from elsewhere when it is opened";
    EmbeddedFile "EMBEDDED_FILE" "a file or program object embedded in a document";

    RiskyObject "RISKY_OBJECT" "an object of a kind that attacks on Office use: the old Equation Editor, links and scripts that are followed by themselves";

    // PDF.
    PdfJavaScript "PDF_JAVASCRIPT" "a PDF with JavaScript";
    PdfLaunch "PDF_LAUNCH" "a PDF that starts a program or opens a file";
    PdfOpenAction "PDF_OPEN_ACTION" "a PDF that does something when it is opened";

    // HTML and images.
    HtmlSmuggling "HTML_SMUGGLING" "a page whose script builds a file and offers it as a download";
    HtmlScript "HTML_SCRIPT" "a page or image with script";
    HtmlForm "HTML_FORM" "a page with a form that asks for a password";
    LinkMismatch "LINK_MISMATCH" "a link that shows one address and leads to another";
    QrLink "QR_LINK" "a picture with a QR code that holds a link";

    // Files.
    ShortcutCommand "SHORTCUT_COMMAND" "a shortcut that starts a command";
    Polyglot "POLYGLOT" "a file that is of two types at once";
    PasswordInMail "PASSWORD_IN_MAIL" "an encrypted archive that a word of the mail opens";
}
