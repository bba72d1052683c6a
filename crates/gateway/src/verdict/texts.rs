//! The texts that are built in, in each language: what stands for a part, wraps a message, warns, and tells a sender.

use super::template::Notice;
use crate::config::parts::Language;

/// In place of an attachment.
pub(super) fn strip(language: Language) -> Notice {
    well_formed(Notice::parse(match language {
        Language::En => {
            "The attachment {name} was removed from this message by {hostname}.\n\
             Reason: {reason}\n\
             \n\
             The original message is held under the id {id}. If you need it, write to\n\
             postmaster@{hostname} and mention the id.\n"
        }
        Language::Fr => {
            "La pièce jointe {name} a été retirée de ce message par {hostname}.\n\
             Motif : {reason}\n\
             \n\
             Le message d'origine est conservé sous le numéro {id}. Si vous en avez\n\
             besoin, écrivez à postmaster@{hostname} en indiquant ce numéro.\n"
        }
        Language::De => {
            "Der Anhang {name} wurde von {hostname} aus dieser Nachricht entfernt.\n\
             Grund: {reason}\n\
             \n\
             Die ursprüngliche Nachricht wird unter der Kennung {id} aufbewahrt. Wenn Sie\n\
             sie brauchen, schreiben Sie an postmaster@{hostname} und nennen Sie die Kennung.\n"
        }
    }))
}

/// Before a message that is wrapped.
pub(super) fn wrap(language: Language) -> Notice {
    well_formed(Notice::parse_about_mail(match language {
        Language::En => {
            "{hostname} takes the message that is attached here for a dangerous or unwanted one.\n\
             Category: {category}; reason: {reason}\n\
             \n\
             Open it only if you expected it. For questions write to postmaster@{hostname}\n\
             and mention the id {id}.\n"
        }
        Language::Fr => {
            "{hostname} considère le message joint comme dangereux ou indésirable.\n\
             Catégorie : {category} ; motif : {reason}\n\
             \n\
             Ne l'ouvrez que si vous l'attendiez. Pour toute question, écrivez à\n\
             postmaster@{hostname} en indiquant le numéro {id}.\n"
        }
        Language::De => {
            "{hostname} hält die hier angehängte Nachricht für gefährlich oder unerwünscht.\n\
             Kategorie: {category}; Grund: {reason}\n\
             \n\
             Öffnen Sie sie nur, wenn Sie sie erwartet haben. Bei Fragen schreiben Sie an\n\
             postmaster@{hostname} und nennen Sie die Kennung {id}.\n"
        }
    }))
}

/// At the top of what is read.
pub(super) fn warning(language: Language) -> Notice {
    well_formed(Notice::parse_about_mail(match language {
        Language::En => {
            "Warning by {hostname}: be careful with this message and its attachments.\n\
             Category: {category}; reason: {reason} (id {id})\n"
        }
        Language::Fr => {
            "Avertissement de {hostname} : méfiez-vous de ce message et de ses pièces jointes.\n\
             Catégorie : {category} ; motif : {reason} (numéro {id})\n"
        }
        Language::De => {
            "Warnung von {hostname}: Seien Sie vorsichtig mit dieser Nachricht und ihren Anhängen.\n\
             Kategorie: {category}; Grund: {reason} (Kennung {id})\n"
        }
    }))
}

/// What a sender reads in a bounce.
pub(super) fn bounce(language: Language) -> Notice {
    well_formed(Notice::parse_bounce(match language {
        Language::En => {
            "This is the mail system at {hostname}.\n\
             \n\
             Your message was not delivered to: {recipients}\n\
             \n\
             It was not accepted because of what it contains: {reason}\n\
             \n\
             Trying again without a change will not help. If you need help, write to\n\
             postmaster@{hostname} and mention the id {id}.\n"
        }
        Language::Fr => {
            "Ceci est le système de messagerie de {hostname}.\n\
             \n\
             Votre message n'a pas été remis à : {recipients}\n\
             \n\
             Il n'a pas été accepté en raison de son contenu : {reason}\n\
             \n\
             Un nouvel envoi sans modification n'y changera rien. Pour obtenir de l'aide,\n\
             écrivez à postmaster@{hostname} en indiquant le numéro {id}.\n"
        }
        Language::De => {
            "Dies ist das Mailsystem von {hostname}.\n\
             \n\
             Ihre Nachricht wurde nicht zugestellt an: {recipients}\n\
             \n\
             Sie wurde wegen ihres Inhalts nicht angenommen: {reason}\n\
             \n\
             Ein neuer Versuch ohne Änderung hilft nicht. Wenn Sie Hilfe brauchen, schreiben\n\
             Sie an postmaster@{hostname} und nennen Sie die Kennung {id}.\n"
        }
    }))
}

fn well_formed(text: Result<Notice, String>) -> Notice {
    text.expect("a built-in text is well-formed")
}

#[cfg(test)]
mod tests {
    use super::super::template::Field;
    use super::*;

    /// What, why, who did it, the id, and whom to ask.
    #[test]
    fn every_text_says_what_a_reader_needs() {
        type Text = fn(Language) -> Notice;
        let told: [(Text, &[Field]); 4] = [
            (strip, &[Field::Name, Field::Reason, Field::Id, Field::Hostname]),
            (wrap, &[Field::Category, Field::Reason, Field::Id, Field::Hostname]),
            (warning, &[Field::Category, Field::Reason, Field::Id, Field::Hostname]),
            (bounce, &[Field::Recipients, Field::Reason, Field::Id, Field::Hostname]),
        ];
        for (text, fields) in told {
            let filled = Language::ALL.map(|language| text(language).fill(|field| format!("<{field:?}>")));
            for filled in &filled {
                assert!(fields.iter().all(|field| filled.contains(&format!("<{field:?}>"))), "{filled}");
                assert!(filled.lines().all(|line| line.chars().count() < 120), "{filled}");
            }
            assert!(filled[0] != filled[1] && filled[1] != filled[2]);
        }
    }
}
