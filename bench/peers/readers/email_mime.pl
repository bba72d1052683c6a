#!/usr/bin/perl
# What Perl's Email::MIME makes of mails: email_mime.pl FOLDER
# Prints the name of each FOLDER/*.eml of which a part, decoded, holds one of the files FOLDER/needle-*.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use needles;
use Email::MIME;

sub holds {
    my ($entity, $depth) = @_;
    my $content = eval { $entity->body };
    if (defined $content) {
        return 1 if is_needle($content);
        # It leaves messages inside to its user.
        my $type = eval { $entity->content_type } // '';
        if ($depth < 30 && $type =~ m{^message/rfc822}i) {
            my $inner = eval { Email::MIME->new($content) };
            return 1 if $inner && holds($inner, $depth + 1);
        }
    }
    return scalar grep { $_ != $entity && holds($_, $depth + 1) } $entity->subparts;
}

each_mail(sub { holds(Email::MIME->new($_[0]), 0) });
