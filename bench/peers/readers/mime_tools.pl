#!/usr/bin/perl
# What Perl's MIME-tools makes of mails, as amavisd-new uses it: mime_tools.pl FOLDER
# Prints the name of each FOLDER/*.eml of which a part, decoded, holds one of the files FOLDER/needle-*.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use needles;
use MIME::Parser;

sub holds {
    my ($entity) = @_;
    my $body = $entity->bodyhandle;
    return 1 if $body && is_needle($body->as_string);
    return scalar grep { holds($_) } $entity->parts;
}

each_mail(sub {
    my $parser = MIME::Parser->new;
    $parser->output_to_core(1);
    $parser->tmp_to_core(1);
    $parser->extract_nested_messages('NEST');
    $parser->extract_uuencode(1);
    return holds($parser->parse_data($_[0]));
});
