//! What is decided about a mail, and why. Pure: no I/O, nothing async, no clock; the same case always gets the same
//! verdict, so that a recorded message can be judged again.
//!
//! [`Policies`] is what the configuration says, compiled. [`judge`] turns findings and faults into one [`Verdict`] for
//! each group of recipients. [`plan`] combines the verdicts into what is delivered, held and answered, for protocols
//! with one answer and for those with an answer for each recipient.
//!
//! [`Verdict`]: gatepost_mail::Verdict

mod admit;
mod attachments;
mod bounce;
mod combine;
mod judge;
mod opinion;
mod parts;
mod policy;
mod postpone;
mod rewrite;
mod template;
#[cfg(test)]
mod testing;
mod texts;
mod when;

pub use admit::{Admission, Request, Restrictions, Stage, Step, force};
pub use bounce::may_tell;
pub use combine::{Answers, Conclusion, Delivery, Outcome, Plan, plan};
pub use judge::{Case, judge};
pub use opinion::{Opinion, opinion};
pub use policy::{Policies, PolicyId, RuleNames};
pub use postpone::{Late, postpone};
